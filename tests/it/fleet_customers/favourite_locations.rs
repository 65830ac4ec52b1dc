//! `dispatcher/v1/customers/{id}/favourite-locations[/{location_id}]`.

use serde_json::{Value, json};

use super::items::{Items, accept, item_tests, refuse};

fn locations() -> Items {
    Items {
        path: "favourite-locations",
        table: "favourite_locations",
        setting: "max_locations",
        not_found: "favourite_location_not_found",
        too_many: "too_many_favourite_locations",
        valid: [
            json!({
                "label": "Дом", "address": "Лесная, 5", "lat": 55.751_244, "lon": 37.618_423,
                "entrance": "2", "comment": "Позвонить за пять минут",
            }),
            json!({"label": "Работа", "address": "Мира, 1", "lat": -33.5, "lon": -70.25}),
        ],
    }
}

item_tests! {
    locations() =>
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
    let long = "я".repeat(201);
    let longer = "я".repeat(251);
    let changes = vec![
        (json!({"label": ""}), "/label"),
        (json!({"label": long}), "/label"),
        (json!({"label": "a\u{0}"}), "/label"),
        (json!({"label": 5}), "/label"),
        (json!({"label": null}), ""),
        (json!({"address": ""}), "/address"),
        (json!({"address": longer}), "/address"),
        (json!({"address": "\u{0}"}), "/address"),
        (json!({"entrance": long}), "/entrance"),
        (json!({"entrance": "\u{0}"}), "/entrance"),
        (json!({"comment": "я".repeat(1_001)}), "/comment"),
        (json!({"comment": "\u{0}"}), "/comment"),
        (json!({"lat": 90.000_001}), "/lat"),
        (json!({"lat": -91}), "/lat"),
        (json!({"lat": 1e300}), "/lat"),
        (json!({"lat": "55.7"}), "/lat"),
        (json!({"lat": null}), ""),
        (json!({"lon": 180.5}), "/lon"),
        (json!({"lon": -181}), "/lon"),
        (json!({"lon": [37.5]}), "/lon"),
        (json!({"id": "0199e0a0-0000-7000-8000-000000000000"}), "/id"),
        (json!({"floor": 3}), "/floor"),
        (json!({"a/b~c": 3}), "/a~1b~0c"),
    ];
    refuse(&locations(), changes).await;
}

#[actix_web::test]
async fn whatever_is_valid_comes_back_as_it_was_sent() {
    let changes: Vec<Value> = vec![
        json!({"lat": 90.0, "lon": -180.0}),
        json!({"lat": -90.0, "lon": 180.0}),
        json!({"lat": 0.1 + 0.2, "lon": 1.0e-300}),
        json!({"lat": 5e-324, "lon": 0.0}),
        json!({"label": "\u{1F3E0} \"дом\" \\ ' %s ; DROP TABLE", "comment": "a\nb\t\u{2028}\u{1}"}),
        json!({"label": "я".repeat(200), "address": "я".repeat(250)}),
        json!({"entrance": null, "comment": null}),
        json!({"entrance": "", "comment": ""}),
    ];
    accept(&locations(), changes).await;
}
