//! A hostile tenant: another park's ids on every route answer exactly as ids of nobody, and change
//! nothing.

use actix_web::http::Method;

use super::*;

/// The routes of dispatchers with an id in the path: method, path below the customer, body.
fn routes(item: &str) -> Vec<(Method, String, Option<Value>)> {
    let location = json!({"label": "Дом", "address": "Лесная, 5", "lat": 55.75, "lon": 37.5});
    let point = json!({"address": "Лесная, 5", "lat": 55.75, "lon": 37.5});
    let route = json!({"label": "На работу", "points": [point, point]});
    let mut routes = vec![
        (Method::GET, String::new(), None),
        (Method::PUT, String::new(), Some(json!({"sms_enabled": true, "order_options": null}))),
        (Method::PATCH, String::new(), Some(json!({"sms_enabled": true}))),
        (Method::DELETE, String::new(), None),
    ];
    for (kind, body) in [("favourite-locations", location), ("recurring-routes", route)] {
        routes.extend([
            (Method::POST, format!("/{kind}"), Some(body.clone())),
            (Method::GET, format!("/{kind}"), None),
            (Method::GET, format!("/{kind}/{item}"), None),
            (Method::PUT, format!("/{kind}/{item}"), Some(body)),
            (Method::DELETE, format!("/{kind}/{item}"), None),
        ]);
    }
    routes
}

/// The status and the body of an answer, without the trace.
async fn answer(
    caller: &Caller,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let reply = caller.send(method.clone(), path, body.map(Value::to_string)).await;
    let body = if reply.body.is_empty() { Value::Null } else { without_trace(reply.json()) };
    (reply.status, body)
}

/// A customer of [`PARK`] with a location and a route: its id and theirs.
async fn full(customers: &Customers) -> (String, [String; 2]) {
    let id = customers.order(PARK, PHONE).await;
    let mut items = Vec::new();
    for (method, path, body) in routes("") {
        if method == Method::POST {
            let path = format!("customers/{id}{path}");
            let added = customers.dispatcher.post(&path, body.unwrap()).await.expect(201);
            items.push(added["id"].as_str().unwrap().to_owned());
        }
    }
    (id, items.try_into().unwrap())
}

#[actix_web::test]
async fn another_parks_customer_answers_as_nobody_on_every_route() {
    let customers = Customers::start().await;
    let (id, [location, route]) = full(&customers).await;
    let before = customers.app.database().dump().await;
    let nobody = phone_id(1);
    for item in [&location, &route] {
        for (method, path, body) in routes(item) {
            for (id, name) in [(&id, "another park's"), (&nobody, "nobody's")] {
                let path = format!("customers/{id}{path}");
                let (status, _) = answer(&customers.stranger, &method, &path, body.as_ref()).await;
                let expected = if method == Method::DELETE { 204 } else { 404 };
                assert_eq!(status, expected, "{method} {path} ({name})");
            }
            let of = |id: &str| format!("customers/{id}{path}");
            let foreign = answer(&customers.stranger, &method, &of(&id), body.as_ref()).await;
            let missing = answer(&customers.stranger, &method, &of(&nobody), body.as_ref()).await;
            assert_eq!(foreign, missing, "{method} {path}");
        }
    }
    assert_eq!(customers.app.database().dump().await, before, "nothing was changed");
}

#[actix_web::test]
async fn another_parks_items_answer_as_nobodys_below_a_customer_of_ones_own() {
    let customers = Customers::start().await;
    let (_, items) = full(&customers).await;
    // The same person, known to the other park too.
    let own = customers.order(OTHER_PARK, PHONE).await;
    let before = customers.app.database().dump().await;
    let missing = uuid::Uuid::now_v7().to_string();
    let nobodys = routes(&missing);
    for item in &items {
        for ((method, path, body), (_, nobodys, _)) in routes(item).into_iter().zip(&nobodys) {
            if path.ends_with(item.as_str()) {
                let of = |path: &str| format!("customers/{own}{path}");
                let foreign = answer(&customers.stranger, &method, &of(&path), body.as_ref()).await;
                let none = answer(&customers.stranger, &method, &of(nobodys), body.as_ref()).await;
                assert_eq!(foreign, none, "{method} {path}");
                assert_eq!(foreign.0, if method == Method::DELETE { 204 } else { 404 });
            }
        }
    }
    assert_eq!(customers.app.database().dump().await, before);
}

#[actix_web::test]
async fn a_list_and_a_search_show_the_callers_park_alone() {
    let customers = Customers::start().await;
    full(&customers).await;
    assert_eq!(customers.stranger.get("customers").await.expect(200), json!({"items": []}));
    let found = customers.stranger.post("customers/find-by-phone", json!({"phone": PHONE})).await;
    found.problem(404, "customer_not_found");
}

#[actix_web::test]
async fn the_park_is_the_headers_and_nothing_else_can_name_one() {
    let customers = Customers::start().await;
    let (id, _) = full(&customers).await;
    for path in [format!("customers?park_id={PARK}"), format!("customers?X-Park-Id={PARK}")] {
        customers.stranger.get(&path).await.problem(400, "invalid_query");
    }
    let path = format!("customers/{id}");
    let body = json!({"sms_enabled": true, "order_options": null, "park_id": PARK});
    customers.stranger.put(&path, body.clone()).await.invalid_at("/park_id");
    customers.stranger.patch(&path, body).await.invalid_at("/park_id");
    for park in ["", " ", "two parks", "парк", &"p".repeat(65)] {
        let reply = customers.dispatcher.header("X-Park-Id", park).get(&path).await;
        reply.problem(400, "invalid_identity");
    }
    customers.dispatcher.without("X-Park-Id").get(&path).await.problem(400, "invalid_identity");
}

#[actix_web::test]
async fn parks_whose_ids_look_alike_are_kept_apart() {
    let customers = Customers::start().await;
    let parks = [
        "0123456789abcdef0123456789abcdef",
        "0123456789ABCDEF0123456789ABCDEF",
        "01234567-89ab-cdef-0123-456789abcdef",
        "park",
        "Park",
        "park%",
        "par_",
    ];
    for (number, park) in parks.iter().enumerate() {
        for _ in 0..=number {
            customers.order(park, PHONE).await;
        }
    }
    for (number, park) in parks.iter().enumerate() {
        let list = customers.app.dispatcher(DOMAIN, park).get("customers").await.expect(200);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{park}");
        assert_eq!(items[0]["orders_count"], number + 1, "{park}");
    }
}

#[actix_web::test]
async fn every_route_wants_a_token_of_its_audience() {
    let customers = Customers::start().await;
    let (id, [location, _]) = full(&customers).await;
    let before = customers.app.database().dump().await;
    let mut all: Vec<(Method, String, Option<Value>)> = routes(&location)
        .into_iter()
        .map(|(method, path, body)| (method, format!("dispatcher/v1/customers/{id}{path}"), body))
        .collect();
    let key = json!({"customers": [{"park_id": PARK, "personal_phone_id": id}]});
    let order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": "2026-05-01T12:00:00Z"});
    all.extend([
        (Method::GET, "dispatcher/v1/customers".to_owned(), None),
        (
            Method::POST,
            "dispatcher/v1/customers/find-by-phone".into(),
            Some(json!({"phone": PHONE})),
        ),
        (Method::POST, "internal/v1/customers/upsert".into(), Some(order)),
        (Method::POST, "internal/v1/customers/retrieve".into(), Some(key)),
    ]);
    let root = customers.app.anonymous().below(DOMAIN).header("X-Park-Id", PARK);
    let root = root.header("X-Dispatcher-Id", "1");
    for (method, path, body) in all {
        let wrong =
            if path.starts_with("dispatcher") { "test-internal" } else { "test-dispatcher" };
        for (caller, status, code) in [
            (root.clone(), 401, "unauthenticated"),
            (root.token("unknown"), 401, "unauthenticated"),
            (root.token(""), 401, "unauthenticated"),
            (root.token(wrong), 403, "forbidden"),
            (root.token("test-driver"), 403, "forbidden"),
        ] {
            let body = body.as_ref().map(Value::to_string);
            caller.send(method.clone(), &path, body).await.problem(status, code);
        }
    }
    assert_eq!(customers.app.database().dump().await, before);
}
