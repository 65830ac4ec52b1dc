//! `dispatcher/v1/customers/{id}/recurring-routes[/{route_id}]`.

use serde_json::{Value, json};

use super::items::{Items, accept, item_tests, refuse};

fn routes() -> Items {
    Items {
        path: "recurring-routes",
        table: "recurring_routes",
        setting: "max_routes",
        not_found: "recurring_route_not_found",
        too_many: "too_many_recurring_routes",
        valid: [
            json!({
                "label": "На работу",
                "points": points(3),
                "schedule": {
                    "weekdays": ["friday", "monday"],
                    "local_time": "08:30",
                    "time_zone": "Europe/Moscow",
                },
            }),
            json!({"label": "Домой", "points": points(2)}),
        ],
    }
}

fn points(count: u32) -> Vec<Value> {
    let point = |number| json!({"lat": f64::from(number) + 0.25, "lon": 37.5, "address": format!("Мира, {number}")});
    (0..count).map(point).collect()
}

fn schedule(member: &str, value: Value) -> Value {
    json!({"schedule": {member: value}})
}

item_tests! {
    routes() =>
    live_from_post_to_delete,
    an_edit_based_on_an_old_version_is_refused,
    a_change_counts_as_a_change_of_the_customer,
    a_customer_has_at_most_fifty,
    the_limit_holds_for_adds_at_the_same_time,
    there_are_none_of_a_customer_that_is_not,
    an_item_belongs_to_its_customer_alone,
}

#[actix_web::test]
async fn what_is_not_valid_is_refused_where_it_is_wrong() {
    let point = |member: &str, value: Value| {
        let mut points = points(3);
        points[1][member] = value;
        json!({"points": points})
    };
    let mut changes = vec![
        (json!({"label": ""}), "/label"),
        (json!({"label": "\u{0}"}), "/label"),
        (json!({"label": "я".repeat(201)}), "/label"),
        (json!({"points": []}), "/points"),
        (json!({"points": points(1)}), "/points"),
        (json!({"points": points(11)}), "/points"),
        (json!({"points": {}}), "/points"),
        (json!({"points": null}), ""),
        (point("lat", json!(90.5)), "/points/1/lat"),
        (point("lat", json!(null)), "/points/1/lat"),
        (point("lon", json!(-180.5)), "/points/1/lon"),
        (point("address", json!("")), "/points/1/address"),
        (point("address", json!("\u{0}")), "/points/1/address"),
        (point("comment", json!("x")), "/points/1/comment"),
        (json!({"colour": "red"}), "/colour"),
        (json!({"schedule": "daily"}), "/schedule"),
        (schedule("weekdays", json!([])), "/schedule/weekdays"),
        (schedule("weekdays", json!(["monday", "friday", "monday"])), "/schedule/weekdays"),
        (schedule("weekdays", json!(["someday"])), "/schedule/weekdays/0"),
        (schedule("weekdays", json!(["Monday"])), "/schedule/weekdays/0"),
        (schedule("weekdays", json!([1])), "/schedule/weekdays/0"),
        (schedule("holidays", json!(true)), "/schedule/holidays"),
    ];
    for time in
        ["", "8:30", "24:00", "08:60", "08:30:00", "T0830", "08-30", "08:3a", "0\u{0}:30", "٠٨:٣٠"]
    {
        changes.push((schedule("local_time", json!(time)), "/schedule/local_time"));
    }
    let long = "a".repeat(10_000);
    for zone in [
        "",
        "Moscow",
        "Europe/Nowhere",
        "../../etc/passwd",
        "/etc/localtime",
        "UTC\u{0}",
        "+03:00",
        &long,
    ] {
        changes.push((schedule("time_zone", json!(zone)), "/schedule/time_zone"));
    }
    refuse(&routes(), changes).await;
}

#[actix_web::test]
async fn whatever_is_valid_comes_back_as_it_was_sent() {
    let week = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let changes = vec![
        json!({"points": points(2)}),
        json!({"points": points(10)}),
        json!({"schedule": null}),
        schedule("weekdays", json!(week)),
        schedule("local_time", json!("00:00")),
        schedule("local_time", json!("23:59")),
        schedule("time_zone", json!("Asia/Kamchatka")),
        schedule("time_zone", json!("UTC")),
        schedule("time_zone", json!("America/Argentina/Buenos_Aires")),
    ];
    accept(&routes(), changes).await;
}
