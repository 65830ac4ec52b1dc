//! `POST internal/v1/customers/upsert`. (Its idempotency: `idempotency`; many at once:
//! `concurrency`; any order of arrival: `model`.)

use super::*;

const ROUTE: &str = "customers/upsert";
const EARLY: &str = "2026-05-01T12:00:00Z";
const LATE: &str = "2026-05-02T12:00:00Z";

fn order(at: &str, more: &Value) -> Value {
    let mut order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": at});
    json_patch::merge(&mut order, more);
    order
}

#[actix_web::test]
async fn the_first_order_makes_the_customer() {
    let customers = Customers::start().await;
    let more = json!({"name": "Анна", "sms_enabled": true, "order_options": options()});
    let reply = customers.internal.post(ROUTE, order(EARLY, &more)).await;
    let made = reply.expect(200);
    assert_eq!((made.get("phone"), made.get("name")), (None, None), "not for services");
    let mut profile = customers.profile(&id_of(&made)).await;
    for (member, value) in [("phone", PHONE), ("name", "Анна")] {
        assert_eq!(profile.as_object_mut().unwrap().remove(member), Some(json!(value)));
    }
    assert_eq!(profile, made);
    assert_eq!(made["orders_count"], 1);
    assert_eq!((&made["first_order_at"], &made["last_order_at"]), (&json!(EARLY), &json!(EARLY)));
}

#[actix_web::test]
async fn a_later_order_changes_only_what_it_names() {
    let customers = Customers::start().await;
    let more = json!({"name": "Анна", "sms_enabled": true, "order_options": options()});
    let id = id_of(&customers.upsert(order(EARLY, &more)).await);
    customers.upsert(order(LATE, &json!({}))).await;
    let profile = customers.profile(&id).await;
    assert_eq!(profile["name"], "Анна");
    assert_eq!(profile["sms_enabled"], true);
    assert_eq!(profile["order_options"], options());
    assert_eq!(profile["orders_count"], 2);
    assert_eq!(profile["first_order_at"], EARLY);
    assert_eq!(profile["last_order_at"], LATE);

    customers.upsert(order(LATE, &json!({"sms_enabled": false}))).await;
    let profile = customers.profile(&id).await;
    assert_eq!((&profile["sms_enabled"], &profile["name"]), (&json!(false), &json!("Анна")));
    let other = json!({"classes": ["business"], "requirements": {}});
    customers.upsert(order(LATE, &json!({"order_options": other, "name": "Вера"}))).await;
    let profile = customers.profile(&id).await;
    assert_eq!((&profile["order_options"], &profile["name"]), (&other, &json!("Вера")));
    assert_eq!(profile["sms_enabled"], false);
}

#[actix_web::test]
async fn an_older_order_is_counted_and_overwrites_nothing() {
    let customers = Customers::start().await;
    let newer = json!({"name": "Анна", "sms_enabled": true, "order_options": options()});
    let id = id_of(&customers.upsert(order(LATE, &newer)).await);
    let older = json!({
        "name": "Вера", "sms_enabled": false,
        "order_options": {"classes": ["business"], "requirements": {}},
    });
    let after = customers.upsert(order(EARLY, &older)).await;
    assert_eq!(after["orders_count"], 2);
    assert_eq!(after["first_order_at"], EARLY);
    assert_eq!(after["last_order_at"], LATE);
    let profile = customers.profile(&id).await;
    assert_eq!(profile["name"], "Анна");
    assert_eq!(profile["sms_enabled"], true);
    assert_eq!(profile["order_options"], options());
}

#[actix_web::test]
async fn a_customer_is_the_same_by_phone_and_by_its_id() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let stored = customers.calls("phones/store");
    let body = json!({"park_id": PARK, "personal_phone_id": id, "ordered_at": LATE});
    assert_eq!(customers.upsert(body).await["orders_count"], 2);
    assert_eq!(customers.calls("phones/store"), stored, "personal has no part in it");
    let body = json!({"park_id": PARK, "phone": "8 (999) 000-00-01", "ordered_at": LATE});
    assert_eq!(customers.upsert(body).await["orders_count"], 3);
}

#[actix_web::test]
async fn times_are_kept_to_the_microsecond_in_utc() {
    let customers = Customers::start().await;
    for (given, kept) in [
        ("2026-05-01T12:00:00.123456Z", "2026-05-01T12:00:00.123456Z"),
        ("2026-05-01T15:00:00.5+03:00", "2026-05-01T12:00:00.5Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    ] {
        let body = json!({"park_id": given.replace(' ', ""), "phone": PHONE, "ordered_at": given});
        assert_eq!(customers.upsert(body).await["last_order_at"], kept);
    }
}

#[actix_web::test]
async fn what_is_not_valid_is_refused_where_it_is_wrong_and_makes_nobody() {
    let customers = Customers::start().await;
    let options = |member: &str, value: Value| json!({"order_options": {member: value}});
    for (more, pointer) in [
        (json!({"park_id": null}), ""),
        (json!({"park_id": ""}), "/park_id"),
        (json!({"park_id": "a b"}), "/park_id"),
        (json!({"park_id": "парк"}), "/park_id"),
        (json!({"park_id": "p\u{0}"}), "/park_id"),
        (json!({"park_id": "p".repeat(65)}), "/park_id"),
        (json!({"park_id": 5}), "/park_id"),
        (json!({"phone": null}), "/phone"),
        (json!({"personal_phone_id": phone_id(1)}), "/phone"),
        (json!({"phone": "call me"}), "/phone"),
        (json!({"phone": "\u{0}"}), "/phone"),
        (json!({"phone": null, "personal_phone_id": "\u{0}"}), "/personal_phone_id"),
        (json!({"phone": null, "personal_phone_id": ""}), "/personal_phone_id"),
        (json!({"name": " "}), "/name"),
        (json!({"name": "a\u{0}"}), "/name"),
        (json!({"name": "a\nb"}), "/name"),
        (json!({"name": "я".repeat(201)}), "/name"),
        (json!({"sms_enabled": "true"}), "/sms_enabled"),
        (json!({"sms_enabled": 1}), "/sms_enabled"),
        (json!({"ordered_at": null}), ""),
        (json!({"ordered_at": "yesterday"}), "/ordered_at"),
        (json!({"ordered_at": 1_767_225_600}), "/ordered_at"),
        (json!({"ordered_at": "2026-05-01"}), "/ordered_at"),
        (json!({"ordered_at": "2026-05-01T12:00:00"}), "/ordered_at"),
        (json!({"ordered_at": "2026-02-30T12:00:00Z"}), "/ordered_at"),
        (json!({"ordered_at": "1969-12-31T23:59:59Z"}), "/ordered_at"),
        (json!({"ordered_at": "-009999-01-02T00:00:00Z"}), "/ordered_at"),
        (json!({"ordered_at": "9999-12-31T12:00:00Z"}), "/ordered_at"),
        (json!({"ordered_at": in_days(2)}), "/ordered_at"),
        (json!({"orders_count": 7}), "/orders_count"),
        (options("comment", json!("\u{0}")), "/order_options/comment"),
        (options("classes", json!(["a\u{0}"])), "/order_options/classes/0"),
        (options("payment_type", json!("\u{0}")), "/order_options/payment_type"),
        (options("requirements", json!({"a": "\u{0}"})), "/order_options/requirements"),
        (options("requirements", json!({"\u{0}": 1})), "/order_options/requirements"),
        (options("requirements", json!({"a": "x".repeat(8_200)})), "/order_options/requirements"),
        (options("v", json!(2)), "/order_options/v"),
    ] {
        customers.internal.post(ROUTE, order(EARLY, &more)).await.invalid_at(pointer);
    }
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        0
    );
    assert_eq!(customers.calls("phones/store"), 0, "nothing is stored before all is checked");
    assert_eq!(customers.calls("names/store"), 0);
}

#[actix_web::test]
async fn what_is_no_json_is_refused_and_makes_nobody() {
    let customers = Customers::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let good = order(EARLY, &json!({})).to_string();
    for body in [
        "",
        "{",
        "nul",
        "\u{feff}{}",
        "{\"park_id\": \"a\u{0}\"}",
        "{\"a\": 1e999}",
        "{\"a\": 01}",
        "{\"a\": NaN}",
        "{\"a\": \"\\ud800\"}",
        &deep,
        &format!("{good}{good}"),
    ] {
        let reply =
            customers.internal.send(actix_web::http::Method::POST, ROUTE, Some(body.into()));
        let reply = reply.await;
        let problem = reply.expect(400);
        assert!(
            problem["code"] == "invalid_json" || problem["code"] == "invalid_request",
            "{problem}"
        );
    }
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        0
    );
}

#[actix_web::test]
async fn odd_requirements_come_back_as_they_were_sent() {
    let customers = Customers::start().await;
    let mut nested = json!(1);
    for _ in 0..100 {
        nested = json!([nested]);
    }
    for value in [
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.0e15),
        json!(0.1 + 0.2),
        json!(1.5e-9),
        json!(5e-324),
        json!(""),
        json!("\\u0001 \u{7f} \u{10FFFF} \u{FFFF}"),
        json!({"": {"": []}}),
        json!([null, true, {"v": 1, "id": 2}]),
        nested,
    ] {
        let options = json!({"classes": [], "requirements": {"v": value, "": value}});
        let made = customers.upsert(order(LATE, &json!({"order_options": options}))).await;
        assert_eq!(made["order_options"], options);
        let profile = customers.profile(&id_of(&made)).await;
        assert_eq!(profile["order_options"], options);
    }
}

#[actix_web::test]
async fn ids_of_parks_of_every_form_are_taken() {
    let customers = Customers::start().await;
    for park in ["p", "0123456789abcdef0123456789abcdef", "A/b?c#d%e", &"x".repeat(64)] {
        let id = customers.order(park, PHONE).await;
        let dispatcher = customers.app.dispatcher(DOMAIN, park);
        let list = dispatcher.get("customers").await.expect(200);
        assert_eq!(ids_of(&list), [id], "{park}");
    }
}

fn in_days(days: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

#[actix_web::test]
async fn a_clock_that_goes_before_ours_may_place_orders() {
    let customers = Customers::start().await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10);
    let order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": soon.to_string()});
    customers.upsert(order).await;
}
