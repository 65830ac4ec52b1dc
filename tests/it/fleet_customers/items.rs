//! What favourite locations and recurring routes have in common. Their files name their members
//! and run these rules for both.

use super::*;
use crate::support::client::Reply;

/// One of the two kinds.
pub(super) struct Items {
    pub path: &'static str,
    pub table: &'static str,
    /// The setting that says how many a customer may have.
    pub setting: &'static str,
    pub not_found: &'static str,
    pub too_many: &'static str,
    /// Two that are valid and differ.
    pub valid: [Value; 2],
}

impl Items {
    pub(super) fn of(&self, customer: &str) -> String {
        format!("customers/{customer}/{}", self.path)
    }

    fn one(&self, customer: &str, item: &str) -> String {
        format!("{}/{item}", self.of(customer))
    }

    async fn add(&self, customers: &Customers, customer: &str) -> Value {
        customers.dispatcher.post(&self.of(customer), self.valid[0].clone()).await.expect(201)
    }
}

/// An item without its id.
fn body_of(item: &Value) -> Value {
    let mut body = item.clone();
    body.as_object_mut().expect("an item").remove("id").expect("an id");
    body
}

fn item_id(item: &Value) -> &str {
    item["id"].as_str().expect("an id")
}

pub(super) async fn live_from_post_to_delete(kind: Items) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let dispatcher = &customers.dispatcher;
    let list = async || dispatcher.get(&kind.of(&id)).await.expect(200);
    assert_eq!(list().await, json!({"items": []}));

    let reply = dispatcher.post(&kind.of(&id), kind.valid[0].clone()).await;
    let first = reply.expect(201);
    assert_eq!(body_of(&first), kind.valid[0]);
    assert_eq!(reply.etag(), "\"v1\"");
    let path = kind.one(&id, item_id(&first));
    assert_eq!(reply.header("location"), format!("/{DOMAIN}/dispatcher/v1/{path}"));
    let read = dispatcher.get(&path).await;
    assert_eq!((read.expect(200), read.etag()), (first.clone(), "\"v1\""));

    let second = kind.add(&customers, &id).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(list().await, json!({"items": [first, second]}), "the oldest first");

    let reply = dispatcher.put(&path, kind.valid[1].clone()).await;
    let replaced = reply.expect(200);
    assert_eq!(replaced["id"], first["id"]);
    assert_eq!(body_of(&replaced), kind.valid[1], "wholly replaced");
    assert_eq!(reply.etag(), "\"v2\"");
    assert_eq!(list().await, json!({"items": [replaced, second]}));
    let member = kind.path.replace('-', "_");
    assert_eq!(customers.profile(&id).await[member], list().await["items"]);

    for _ in 0..2 {
        assert_eq!(dispatcher.delete(&path).await.expect(204), Value::Null);
    }
    dispatcher.get(&path).await.problem(404, kind.not_found);
    assert_eq!(list().await, json!({"items": [second]}));
}

pub(super) async fn an_edit_based_on_an_old_version_is_refused(kind: Items) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = kind.one(&id, item_id(&kind.add(&customers, &id).await));
    let put = async |tag: &str| {
        customers.dispatcher.header("If-Match", tag).put(&path, kind.valid[1].clone()).await
    };
    put("\"v1\"").await.expect(200);
    let before = customers.app.database().dump().await;
    for stale in ["\"v1\"", "W/\"v2\"", "\"v3\""] {
        put(stale).await.problem(412, "stale_version");
    }
    assert_eq!(customers.app.database().dump().await, before, "the customer's version too");
    put("\"v2\"").await.expect(200);
    assert_eq!(put("*").await.etag(), "\"v4\"");
}

pub(super) async fn a_change_counts_as_a_change_of_the_customer(kind: Items) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}");
    let version = async || customers.dispatcher.get(&path).await.etag().to_owned();
    assert_eq!(version().await, "\"v1\"");
    let item = kind.one(&id, item_id(&kind.add(&customers, &id).await));
    assert_eq!(version().await, "\"v2\"");
    customers.dispatcher.put(&item, kind.valid[1].clone()).await.expect(200);
    assert_eq!(version().await, "\"v3\"");
    customers.dispatcher.delete(&item).await.expect(204);
    assert_eq!(version().await, "\"v4\"");
    customers.dispatcher.delete(&item).await.expect(204);
    assert_eq!(version().await, "\"v4\"", "nothing was there to delete");
}

pub(super) async fn a_customer_has_at_most_fifty(kind: Items) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let mut last = Value::Null;
    for _ in 0..50 {
        last = kind.add(&customers, &id).await;
    }
    let add = async || customers.dispatcher.post(&kind.of(&id), kind.valid[0].clone()).await;
    add().await.problem(409, kind.too_many);
    let list = customers.dispatcher.get(&kind.of(&id)).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 50);
    // Another customer's are not counted, and a place that comes free can be taken.
    let other = customers.order(PARK, "+79990000002").await;
    kind.add(&customers, &other).await;
    customers.dispatcher.delete(&kind.one(&id, item_id(&last))).await.expect(204);
    add().await.expect(201);
}

pub(super) async fn the_limit_holds_for_adds_at_the_same_time(kind: Items) {
    let config = format!("[fleet_customers]\n{} = 3", kind.setting);
    let customers = Customers::with(&config).await;
    let id = customers.order(PARK, PHONE).await;
    let path = kind.of(&id);
    let adds = (0..12).map(|_| customers.dispatcher.post(&path, kind.valid[0].clone()));
    let mut statuses: Vec<u16> = join_all(adds).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[201; 3].as_slice(), &[409; 9]].concat());
}

pub(super) async fn there_are_none_of_a_customer_that_is_not(kind: Items) {
    let customers = Customers::start().await;
    let nobody = phone_id(1);
    let dispatcher = &customers.dispatcher;
    dispatcher.get(&kind.of(&nobody)).await.problem(404, "customer_not_found");
    let add = dispatcher.post(&kind.of(&nobody), kind.valid[0].clone()).await;
    add.problem(404, "customer_not_found");
    let item = kind.one(&nobody, &uuid::Uuid::now_v7().to_string());
    dispatcher.put(&item, kind.valid[0].clone()).await.problem(404, "customer_not_found");
    dispatcher.get(&item).await.problem(404, kind.not_found);
    dispatcher.delete(&item).await.expect(204);
    let rows = format!("SELECT count(*) FROM fleet_customers.{}", kind.table);
    assert_eq!(customers.app.database().count(&rows).await, 0);
}

pub(super) async fn an_item_belongs_to_its_customer_alone(kind: Items) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let other = customers.order(PARK, "+79990000002").await;
    let item = kind.add(&customers, &id).await;
    let elsewhere = kind.one(&other, item_id(&item));
    let dispatcher = &customers.dispatcher;
    dispatcher.get(&elsewhere).await.problem(404, kind.not_found);
    dispatcher.put(&elsewhere, kind.valid[1].clone()).await.problem(404, kind.not_found);
    dispatcher.delete(&elsewhere).await.expect(204);
    assert_eq!(dispatcher.get(&kind.one(&id, item_id(&item))).await.expect(200), item);
    for garbage in ["1", "%00", "null", "00000000-0000-0000-0000-00000000000g"] {
        let reply = dispatcher.get(&kind.one(&id, garbage)).await;
        assert_eq!(reply.status, 404, "{garbage}: {}", reply.text());
    }
}

/// Tries each change of a valid body: it must be refused at that pointer, in POST and in PUT, and
/// change nothing.
pub(super) async fn refuse(kind: &Items, changes: Vec<(Value, &str)>) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let item = kind.one(&id, item_id(&kind.add(&customers, &id).await));
    let before = customers.app.database().dump().await;
    for (change, pointer) in changes {
        let mut body = kind.valid[0].clone();
        json_patch::merge(&mut body, &change);
        customers.dispatcher.post(&kind.of(&id), body.clone()).await.invalid_at(pointer);
        customers.dispatcher.put(&item, body).await.invalid_at(pointer);
    }
    assert_eq!(customers.app.database().dump().await, before);
}

/// Tries each change of a valid body: it must be taken and come back as it was sent.
pub(super) async fn accept(kind: &Items, changes: Vec<Value>) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    for change in changes {
        let mut body = kind.valid[0].clone();
        json_patch::merge(&mut body, &change);
        let reply: Reply = customers.dispatcher.post(&kind.of(&id), body.clone()).await;
        let added = reply.expect(201);
        assert_eq!(body_of(&added), body);
        let read = customers.dispatcher.get(&kind.one(&id, item_id(&added))).await.expect(200);
        assert_eq!(read, added);
    }
}

/// The rules as tests of one kind.
macro_rules! item_tests {
    ($kind:expr => $($rule:ident),+ $(,)?) => {
        $(
            #[actix_web::test]
            async fn $rule() {
                super::items::$rule($kind).await;
            }
        )+
    };
}
pub(super) use item_tests;
