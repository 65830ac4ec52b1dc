//! `POST dispatcher/v1/customers/find-by-phone`.

use serde_json::json;

use super::*;

#[actix_web::test]
async fn a_customer_is_found_however_the_number_is_written() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, "+79990000001").await;
    for phone in ["+79990000001", "+7 999 000-00-01", "8 (999) 000-00-01", "9990000001"] {
        let found = customers.dispatcher.post("customers/find-by-phone", json!({"phone": phone}));
        let found = found.await.expect(200);
        assert_eq!(found["personal_phone_id"], id.as_str(), "{phone}");
        assert_eq!(found["phone"], "+79990000001");
    }
}
