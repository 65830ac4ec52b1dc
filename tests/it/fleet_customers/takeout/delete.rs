//! `POST takeout/v1/delete` and `GET takeout/v1/receipts/{request_id}`.

use super::*;

#[actix_web::test]
async fn a_person_is_erased_in_all_parks_and_nobody_else_is() {
    let customers = Customers::start().await;
    let (id, other) = (phone_id(1), phone_id(2));
    customers.person(&id, NAME, &[PARK, OTHER_PARK]).await;
    customers.person(&other, "Вера", &[PARK, OTHER_PARK]).await;
    let before = customers.profile(&other).await;
    let accepted = customers.erase("request-1", &[&id]).await;
    assert_eq!(accepted["request_id"], "request-1");
    let receipt = customers.completed("request-1").await;
    assert_counts(&receipt, [2, 4, 2, 6, 1]);
    assert_eq!(receipt["caller"], "test-takeout");
    assert!(receipt["requested_at"].as_str() < receipt["completed_at"].as_str(), "{receipt}");
    assert_eq!(customers.status(&id).await["status"], "empty");
    for park in [PARK, OTHER_PARK] {
        assert!(!customers.is_known(park, &id).await, "{park}");
        assert!(customers.is_known(park, &other).await, "{park}");
    }
    assert_eq!(customers.profile(&other).await, before);
    assert_eq!(count_of(&customers.status(&other).await["categories"], "recent_answers"), 6);
    let source = "fleet_customers_updates_total{source=\"takeout\"}";
    assert!((customers.app.metric(source).await - 2.0).abs() < f64::EPSILON);
}

#[actix_web::test]
async fn nothing_in_the_database_leads_to_an_erased_person() {
    let customers = Customers::start().await;
    let (id, name) = (phone_id(0x00ab_cdef_1234), NAME);
    customers.person(&id, name, &[PARK, OTHER_PARK]).await;
    let name_id =
        "SELECT fleet_platform.readable_id(personal_name_id) FROM fleet_customers.customers";
    let rows = customers.app.database().query(name_id, &[]).await;
    let name_id: String = rows[0].get(0);
    for trace in [id.as_str(), &name_id, "Лесная", "подъезда"] {
        assert!(customers.app.database().dump().await.contains(trace), "{trace} is to be erased");
    }
    customers.erase("request-1", &[&id]).await;
    customers.completed("request-1").await;
    let dump = customers.app.database().dump().await;
    assert!(dump.contains("request-1"), "{dump}");
    for trace in [id.as_str(), &name_id, "Лесная", "подъезда"] {
        assert!(!dump.contains(trace), "{trace} in\n{dump}");
    }
}

#[actix_web::test]
async fn a_name_is_forgotten_unless_another_customer_has_it() {
    let customers = Customers::start().await;
    customers.person(&phone_id(1), "Анна", &[PARK]).await;
    customers.person(&phone_id(1), NAME, &[OTHER_PARK]).await;
    customers.person(&phone_id(2), "Анна", &[OTHER_PARK]).await;
    let phone = customers.order(PARK, PHONE).await;
    customers.erase("request-1", &[&phone_id(1), &phone]).await;
    let receipt = customers.completed("request-1").await;
    assert_eq!(count_of(&receipt["systems"], "personal"), 1, "{receipt}");
    assert!(!customers.personal_keeps("names", NAME).await);
    assert!(customers.personal_keeps("names", "Анна").await, "another customer's");
    assert!(customers.personal_keeps("phones", PHONE).await, "not ours to forget");
    let other = customers.stranger.get(&format!("customers/{}", phone_id(2))).await.expect(200);
    assert_eq!(other["name"], "Анна");
    customers.erase("request-2", &[&phone_id(2)]).await;
    customers.completed("request-2").await;
    assert!(!customers.personal_keeps("names", "Анна").await, "nobody has it any more");
}

#[actix_web::test]
async fn the_same_request_again_changes_nothing_and_other_persons_under_its_id_are_refused() {
    let customers = Customers::start().await;
    let takeout = takeout(&customers.app);
    let (first, second) = (phone_id(1), phone_id(2));
    customers.person(&first, NAME, &[PARK]).await;
    customers.erase("request-1", &[&first, &second]).await;
    let receipt = customers.completed("request-1").await;
    let fresh = new_order(PARK, &first);
    customers.upsert(fresh).await;
    for ids in [[&*first, &*second], [&*second, &*first]] {
        let again = customers.erase("request-1", &ids).await;
        assert_eq!(again, json!({"request_id": "request-1", "status": "completed"}));
    }
    assert_eq!(customers.receipt("request-1").await, receipt);
    assert!(customers.is_known(PARK, &first).await, "what came since is not erased again");
    for ids in [vec![&*first], vec![&*first, &*second, "c"]] {
        let other = takeout.post("delete", request("request-1", &ids)).await;
        other.problem(422, "request_id_reused");
    }
    for (outcome, expected) in [("requested", 1), ("repeated", 2), ("completed", 1)] {
        let series = format!("fleet_customers_erasures_total{{outcome=\"{outcome}\"}}");
        customers.app.counted(&series, expected).await;
    }
}

#[actix_web::test]
async fn the_same_request_many_times_at_once_is_one() {
    let customers = Customers::start().await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK, OTHER_PARK]).await;
    let ids = [id.as_str()];
    join_all((0..20).map(|_| customers.erase("request-1", &ids))).await;
    assert_counts(&customers.completed("request-1").await, [2, 4, 2, 6, 1]);
    let erasures = "SELECT count(*) FROM fleet_customers.erasures";
    assert_eq!(customers.app.database().count(erasures).await, 1);
}

#[actix_web::test]
async fn who_is_not_known_is_erased_with_a_receipt_of_nothing() {
    let customers = Customers::start().await;
    customers.erase("request-1", &[&phone_id(1)]).await;
    assert_counts(&customers.completed("request-1").await, [0; 5]);
    assert_eq!(customers.calls("names/delete"), 0);
    let late = customers.internal.post("customers/upsert", old_order(PARK, &phone_id(1)));
    late.await.problem(409, "customer_erased");
}

#[actix_web::test]
async fn an_unknown_receipt_is_not_found() {
    let customers = Customers::start().await;
    let takeout = takeout(&customers.app);
    takeout.get("receipts/unknown").await.problem(404, "receipt_not_found");
    assert_eq!(takeout.get("receipts/two%20words").await.status, 404);
}

#[actix_web::test]
async fn a_person_with_more_parks_than_a_batch_is_erased_whole() {
    let customers = Customers::start().await;
    let id = phone_id(1);
    customers.known([(id.clone(), "2026-05-01T12:00:00Z".to_owned())]).await;
    // 1 300 parks: three batches, two of them full.
    let parks = "INSERT INTO fleet_customers.parks (park_id) \
         SELECT convert_to('many-' || n, 'UTF8') FROM generate_series(1, 1299) n";
    let customers_of = "INSERT INTO fleet_customers.customers (park_no, personal_phone_id, \
           orders_count, first_order_at, last_order_at, personal_name_id) \
         SELECT p.park_no, c.personal_phone_id, 1, now(), now(), convert_to('name-' || p.park_no, 'UTF8') \
         FROM fleet_customers.parks p, fleet_customers.customers c WHERE p.park_no <> c.park_no";
    let items = "INSERT INTO fleet_customers.favourite_locations (id, park_no, personal_phone_id, body) \
         SELECT gen_random_uuid(), park_no, personal_phone_id, '{}' FROM fleet_customers.customers";
    for sql in [parks, customers_of, items] {
        customers.app.database().execute(sql).await;
    }
    customers.erase("request-1", &[&id]).await;
    assert_counts(&customers.completed("request-1").await, [1300, 1300, 0, 0, 1299]);
    assert_eq!(customers.calls("names/delete"), 2, "a thousand at a time");
    assert_eq!(customers.status(&id).await["status"], "empty");
}

#[actix_web::test]
async fn two_erasures_of_one_person_at_once_count_each_row_once() {
    let customers = Customers::with(HASTY).await;
    let ids: Vec<String> = (0..10).map(phone_id).collect();
    for (number, id) in ids.iter().enumerate() {
        customers.person(id, &format!("Имя {number}"), &[PARK, OTHER_PARK]).await;
    }
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let backwards: Vec<&str> = all.iter().rev().copied().collect();
    join_all([customers.erase("request-1", &all), customers.erase("request-2", &backwards)]).await;
    let receipts = [customers.completed("request-1").await, customers.completed("request-2").await];
    let sum = |name| receipts.iter().map(|receipt| count_of(&receipt["tables"], name)).sum::<i64>();
    assert_eq!(sum("fleet_customers.customers"), 20);
    assert_eq!(sum("fleet_customers.favourite_locations"), 40);
    assert_eq!(sum("fleet_platform.idempotency_keys"), 60);
    assert_eq!(customers.status(&ids[3]).await["status"], "empty");
}
