//! How each operation is called. One that has no row here fails the walk.

use serde_json::{Value, json};

use super::Ids;
use super::ids::{MARK, location, route};

/// By what an operation knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The identity headers name the park.
    Callers,
    /// A service names the park in the body: it may name any, and gets that park's only.
    Bodys,
    /// It concerns no park, for this reason.
    Nobodys(&'static str),
}

/// A call, beside its path.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub query: String,
    pub body: Option<Value>,
}

/// An operation and its calls. The first is one that the park's own people are answered well.
pub struct Row {
    pub operation: &'static str,
    pub whose: Whose,
    pub requests: fn(&Ids) -> Vec<Request>,
}

const SCOOTERS: Whose = Whose::Nobodys("cabinets and accumulators belong to no park");
const ERASURE: Whose = Whose::Nobodys("a person is erased from all parks");
const LICENSES: Whose =
    Whose::Nobodys("a licence is a person's, who may drive for many parks; caches follow all");

fn plain(_: &Ids) -> Vec<Request> {
    vec![Request::default()]
}

fn body(body: Value) -> Request {
    Request { body: Some(body), ..Request::default() }
}

fn query(query: String) -> Request {
    Request { query, ..Request::default() }
}

const fn row(operation: &'static str, requests: fn(&Ids) -> Vec<Request>) -> Row {
    Row { operation, whose: Whose::Callers, requests }
}

const fn of(whose: Whose, operation: &'static str, requests: fn(&Ids) -> Vec<Request>) -> Row {
    Row { operation, whose, requests }
}

fn order(ids: &Ids, more: Value) -> Request {
    let mut named = json!({ "order_id": ids.order });
    named.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    body(named)
}

fn driver(ids: &Ids) -> Value {
    json!({"park_id": ids.park, "driver_id": ids.contractor})
}

pub const ROWS: &[Row] = &[
    // fleet-customers
    row("customers_list", plain),
    row("customers_find_by_phone", |ids| vec![body(json!({ "phone": ids.phone }))]),
    row("customers_get", plain),
    row("customers_replace", |_| {
        vec![body(json!({"name": MARK, "sms_enabled": true, "order_options": null}))]
    }),
    row("customers_patch", |_| vec![body(json!({ "sms_enabled": true }))]),
    row("customers_delete", plain),
    row("favourite_locations_list", plain),
    row("favourite_locations_add", |_| vec![body(location())]),
    row("favourite_locations_get", plain),
    row("favourite_locations_replace", |_| vec![body(location())]),
    row("favourite_locations_delete", plain),
    row("recurring_routes_list", plain),
    row("recurring_routes_add", |_| vec![body(route())]),
    row("recurring_routes_get", plain),
    row("recurring_routes_replace", |_| vec![body(route())]),
    row("recurring_routes_delete", plain),
    of(Whose::Bodys, "customers_retrieve", |ids| {
        let key = json!({"park_id": ids.park, "personal_phone_id": ids.personal_phone_id});
        vec![body(json!({ "customers": [key] }))]
    }),
    of(Whose::Bodys, "customers_upsert", |ids| vec![body(ids.upsert(&ids.phone))]),
    of(ERASURE, "takeout_status", |ids| {
        vec![body(json!({ "personal_phone_ids": [ids.personal_phone_id] }))]
    }),
    of(ERASURE, "takeout_delete", |ids| {
        let request =
            json!({"request_id": ids.mailing, "personal_phone_ids": [ids.personal_phone_id]});
        vec![body(request)]
    }),
    of(ERASURE, "takeout_receipt", plain),
    // fleet-orders-manager
    row("orders_estimate", |ids| vec![body(ids.draft())]),
    row("orders_draft", |ids| vec![body(ids.draft())]),
    row("orders_commit", |ids| vec![order(ids, json!({}))]),
    row("orders_edit", |ids| {
        [1, 99].map(|revision| order(ids, json!({"revision": revision, "comment": "x"}))).into()
    }),
    row("orders_cancel", |ids| {
        vec![
            order(ids, json!({ "reason": "r" })),
            order(ids, json!({ "revision": 1 })),
            order(ids, json!({ "revision": 99 })),
        ]
    }),
    row("orders_active_by_phone", |ids| vec![body(json!({ "phone": ids.phone }))]),
    row("orders_get", plain),
    // fleet-communications
    row("mailings_preview", |ids| {
        vec![body(json!({"filter": {"incl_contractor_ids": [ids.contractor]}}))]
    }),
    row("mailings_order", |ids| {
        let template = json!({ "template_id": ids.template });
        let drivers = json!({"message": MARK, "filter": {"incl_contractor_ids": [ids.contractor]}});
        vec![body(template), body(drivers)]
    }),
    row("mailings_list", |ids| {
        vec![query(String::new()), query(format!("template_id={}", ids.template))]
    }),
    row("mailings_get", plain),
    row("mailings_cancel", plain),
    row("mailings_retry", plain),
    row("mailing_templates_list", plain),
    row("mailing_templates_create", |_| vec![body(json!({"message": MARK, "filter": {}}))]),
    row("mailing_templates_get", plain),
    row("mailing_templates_replace", |_| vec![body(json!({"message": MARK, "filter": {}}))]),
    row("mailing_templates_delete", plain),
    row("conversations_list", plain),
    row("conversations_events", plain),
    row("conversations_messages", plain),
    row("conversations_write", |_| vec![body(json!({ "text": MARK }))]),
    row("conversations_read", |ids| vec![body(json!({ "up_to_message_id": ids.message }))]),
    row("conversation_messages", plain),
    row("conversation_write", |_| vec![body(json!({ "text": MARK }))]),
    row("conversation_read", |ids| vec![body(json!({ "up_to_message_id": ids.message }))]),
    // deptrans-driver-status-integration
    row("deptrans_id_read", plain),
    row("deptrans_id_bind", |ids| vec![body(json!({ "id": ids.krt_id }))]),
    of(Whose::Bodys, "deptrans_drivers_check", |ids| {
        vec![body(json!({ "drivers": [driver(ids)] }))]
    }),
    of(Whose::Bodys, "status_events", |ids| {
        let mut event = driver(ids);
        event["status"] = json!("online");
        event["occurred_at"] = json!(ids.at);
        event["event_id"] = json!("1");
        vec![body(json!({ "events": [event] }))]
    }),
    of(LICENSES, "deptrans_id_updates", plain),
    of(LICENSES, "deptrans_status_updates", plain),
    of(LICENSES, "deptrans_id_remove", plain),
    of(Whose::Nobodys("the regulator is down for all"), "krt_outages", plain),
    // scooter-accumulator
    of(SCOOTERS, "accumulators_list", plain),
    of(SCOOTERS, "accumulators_create", |_| {
        vec![body(json!({"id": "a", "charge": 1, "place": null}))]
    }),
    of(SCOOTERS, "accumulators_get", plain),
    of(SCOOTERS, "accumulators_replace", |_| vec![body(json!({"charge": 1, "place": null}))]),
    of(SCOOTERS, "accumulators_delete", plain),
    of(SCOOTERS, "accumulators_history", plain),
    of(SCOOTERS, "bookings_create", |_| {
        vec![body(json!({"cabinet_id": "c", "contractor_id": "t", "kind": "pickup", "count": 1}))]
    }),
    of(SCOOTERS, "bookings_get", plain),
    of(SCOOTERS, "bookings_cancel", plain),
    of(SCOOTERS, "bookings_execute", |_| vec![body(json!({}))]),
    of(SCOOTERS, "cabinets_list", plain),
    of(SCOOTERS, "cabinets_create", |_| {
        vec![body(json!({"id": "c", "lat": 55.75, "lon": 37.61, "cell_count": 5}))]
    }),
    of(SCOOTERS, "cabinets_get", plain),
    of(SCOOTERS, "cabinets_replace", |_| {
        vec![body(json!({"lat": 55.75, "lon": 37.61, "cell_count": 5}))]
    }),
    of(SCOOTERS, "cabinets_delete", plain),
    of(SCOOTERS, "cabinets_cells", plain),
    of(SCOOTERS, "cabinet_commands_give", |_| vec![body(json!({ "type": "get_state" }))]),
    of(SCOOTERS, "cabinet_commands_get", plain),
    of(SCOOTERS, "scooters_swap", |_| {
        vec![body(json!({"contractor_id": "t", "charged_accumulator_id": "a"}))]
    }),
];
