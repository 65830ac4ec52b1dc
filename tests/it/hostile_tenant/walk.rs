//! The walk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use uuid::Uuid;

use super::ids::MARK;
use super::{Ids, ROWS, Request, Row, Whose, rows_of};
use crate::support::api::Operation;
use crate::support::app::TestApp;
use crate::support::client::{Caller, DISPATCHER_ID, Reply};
use crate::support::eventually;

/// Mailings wait; other work of the queue is done at once.
const QUICK: &str = "[tasks]\npoll_ms = 50\n";
/// Differ from answer to answer, whoever asks.
const OF_EACH_ANSWER: [&str; 2] = ["date", "x-request-id"];

pub fn row_of(operation: &Operation) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.operation == operation.id())
}

/// The operations of domains.
pub async fn guarded(root: &Caller) -> Vec<Operation> {
    let all = Operation::all(root).await;
    all.into_iter().filter(|operation| operation.audience().is_some()).collect()
}

/// Who may call an operation, with these ids as his own.
pub fn caller(root: &Caller, operation: &Operation, ids: &Ids) -> Caller {
    let audience = operation.audience().expect("an audience");
    let caller = root.token(&format!("test-{audience}"));
    // Where it means something it is refused: the answer would not end.
    let caller = caller.header("Last-Event-ID", "none");
    let park = |caller: Caller| caller.header("X-Park-Id", &ids.park);
    match audience {
        "dispatcher" => park(caller).header("X-Dispatcher-Id", DISPATCHER_ID),
        "driver" => park(caller).header("X-Driver-Profile-Id", &ids.contractor),
        _ => caller,
    }
}

/// Calls an operation with these ids in the path.
pub async fn call(caller: &Caller, operation: &Operation, ids: &Ids, request: &Request) -> Reply {
    let path = operation.path(|name| ids.parameter(&operation.template, name));
    let path = format!("{path}?{}", request.query);
    let body = request.body.as_ref().map(Value::to_string);
    caller.send(operation.method.clone(), &path, body).await
}

#[actix_web::test]
async fn every_operation_has_a_row_and_every_row_an_operation() {
    let app = TestApp::start().await;
    let operations = guarded(&app.anonymous()).await;
    let known: BTreeSet<&str> = operations.iter().map(Operation::id).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.operation).collect();
    assert_eq!(known, rows, "add a row to tests/it/hostile_tenant/table.rs");
    assert_eq!(rows.len(), ROWS.len(), "an operation stands there twice");
}

/// Two parks that have nothing yet, whose names differ in a digit.
fn strangers() -> [String; 2] {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    [70_000, 80_000].map(|first| format!("park-{}", first + number))
}

/// A park that owns something, and a stranger to it who knows everything that can be known of it.
struct Case<'a> {
    app: &'a TestApp,
    root: Caller,
    operation: &'a Operation,
    row: &'static Row,
    owner: Ids,
}

impl<'a> Case<'a> {
    async fn make(
        app: &'a TestApp,
        number: usize,
        operation: &'a Operation,
        row: &'static Row,
    ) -> Self {
        let root = app.anonymous();
        // The stand-ins know the licences of the drivers of one park.
        let by_license = operation.template.starts_with("/deptrans");
        let known = app.sandbox.driver(u64::try_from(number).expect("a number"));
        let park = if by_license { known.park_id } else { format!("park-{}", 1000 + number) };
        let driver = app.sandbox.driver_ids(&park)[number % 100].clone();
        let mut owner = Ids::make(&root, &park, &driver).await;
        if let Some(license) = known.license.filter(|_| by_license) {
            (owner.krt_id, owner.license) = (license.krt_id, license.pd_id);
        }
        Self { app, root, operation, row, owner }
    }

    /// The park's own call.
    async fn own(&self, header: Option<(&str, &str)>, request: &Request) -> Reply {
        let mut caller = caller(&self.root, self.operation, &self.owner);
        if let Some((name, value)) = header {
            caller = caller.header(name, value);
        }
        call(&caller, self.operation, &self.owner, request).await
    }

    /// Waits until nothing is done for the park any more, but what has its time.
    async fn rests(&self) {
        let sql = format!(
            "SELECT count(*) FROM task_queue.tasks WHERE park_id = '{}' \
             AND (state <> 'scheduled' OR run_at < now() + interval '1 hour')",
            self.owner.park
        );
        eventually("the park rests", async || self.app.database().count(&sql).await == 0).await;
    }

    /// What there is of the park.
    async fn state(&self) -> BTreeSet<String> {
        let orders = self.app.sandbox.orders(&self.owner.park);
        let orders = orders.iter().map(|order| format!("{order:?}"));
        rows_of(self.app.database(), &self.owner.park).await.into_iter().chain(orders).collect()
    }

    /// A stranger's call with somebody's ids: what he sees, without what differs from call to call.
    async fn seen(&self, ids: &Ids, number: usize, headers: &[(&str, &str)]) -> Seen {
        let request = (self.row.requests)(ids).swap_remove(number);
        let mut caller = caller(&self.root, self.operation, ids);
        for (name, value) in headers {
            caller = caller.header(name, value);
        }
        let reply = call(&caller, self.operation, ids, &request).await;
        let sent = format!(
            "{} {request:?} {headers:?}",
            self.operation.path(|name| { ids.parameter(&self.operation.template, name) })
        );
        self.assert_no_word_of_the_owner(&reply, &sent);
        Seen::of(&reply, ids)
    }

    /// Nothing comes back that was not sent.
    fn assert_no_word_of_the_owner(&self, reply: &Reply, sent: &str) {
        let shown = format!("{:?} {}", reply.headers, reply.text());
        // `personal` calls one phone the same for everybody.
        let tells_id = |what| what == "personal_phone_id" && sent.contains(&self.owner.phone);
        let words = self.owner.all().into_iter().filter(|(what, _)| !tells_id(*what));
        let words = words.chain([("text", MARK)]);
        for (what, word) in words.filter(|(_, word)| !sent.contains(*word)) {
            assert!(!shown.contains(word), "{} shows the {what}: {shown}", self.operation);
        }
    }

    /// The same call with the owner's ids and with nobody's.
    async fn assert_the_same(&self, number: usize, headers: [&[(&str, &str)]; 2]) {
        let [one, other] = strangers();
        let foreign = Ids { park: one, ..self.owner.clone() };
        let foreign = self.seen(&foreign, number, headers[0]).await;
        let nobodys = self.seen(&Ids::of_nobody(&other), number, headers[1]).await;
        assert_eq!(foreign, nobodys, "{}, call {number}, {headers:?}", self.operation);
        self.operation.assert_documents(foreign.status);
    }

    /// A page after that of the owner is empty, or refused.
    async fn assert_no_page_after(&self, cursor: &str) {
        let request = Request { query: format!("cursor={cursor}"), body: None };
        let ids = Ids { park: strangers()[0].clone(), ..self.owner.clone() };
        let caller = caller(&self.root, self.operation, &ids);
        let reply = call(&caller, self.operation, &ids, &request).await;
        self.assert_no_word_of_the_owner(&reply, &format!("{}{cursor}", ids.park));
        match reply.status {
            200 => assert_eq!(reply.text(), r#"{"items":[]}"#, "{}", self.operation),
            400 => drop(reply.problem(400, "invalid_cursor")),
            _ => drop(reply.problem(404, "conversation_not_found")),
        }
    }

    async fn walk(&self) {
        let key = Uuid::new_v4().to_string();
        let requests = (self.row.requests)(&self.owner);
        let takes_key = self.operation.takes("Idempotency-Key");
        if takes_key {
            let reply = self.own(Some(("Idempotency-Key", &key)), &requests[0]).await;
            self.assert_answered(&reply);
        }
        if self.operation.takes("cursor") {
            let first = Request { query: "limit=1".to_owned(), body: None };
            let page = self.own(None, &first).await.expect(200);
            let cursor = page["next_cursor"].as_str();
            let cursor = cursor.unwrap_or_else(|| panic!("{} has one page", self.operation));
            self.assert_no_page_after(cursor).await;
        }
        self.rests().await;
        let before = self.state().await;
        for number in 0..requests.len() {
            self.assert_the_same(number, [&[], &[]]).await;
            if self.operation.takes("If-Match") {
                for etag in ["\"v1\"", "\"v99\"", "*"] {
                    self.assert_the_same(number, [&[("If-Match", etag)]; 2]).await;
                }
            }
            if takes_key {
                let other = Uuid::new_v4().to_string();
                let name = "Idempotency-Key";
                self.assert_the_same(number, [&[(name, &key)], &[(name, &other)]]).await;
            }
        }
        let after = self.state().await;
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(changed.is_empty(), "{} changed another park: {changed:#?}", self.operation);
        // It was worth trying.
        if self.operation.id() != "conversations_events" {
            self.assert_answered(&self.own(None, &requests[0]).await);
        }
    }

    fn assert_answered(&self, reply: &Reply) {
        let well = matches!(reply.status, 200..=299) || self.operation.id() == "mailings_retry";
        assert!(well, "{}: {} {}", self.operation, reply.status, reply.text());
    }
}

/// What a stranger sees of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Seen {
    fn of(reply: &Reply, ids: &Ids) -> Self {
        let mut headers = BTreeMap::new();
        for (name, value) in &reply.headers {
            let value = plain(value.to_str().expect("a header of text"), ids);
            headers.insert(name.to_string(), value);
        }
        headers.retain(|name, _| !OF_EACH_ANSWER.contains(&name.as_str()));
        // Times are written as short as they can be.
        if reply.status < 300 {
            headers.remove("content-length");
        }
        let mut body = if reply.body.is_empty() { Value::Null } else { reply.json() };
        simplify(&mut body, ids);
        Self { status: reply.status, headers, body }
    }
}

fn simplify(value: &mut Value, ids: &Ids) {
    match value {
        Value::Object(members) => {
            members.remove("trace_id");
            members.values_mut().for_each(|value| simplify(value, ids));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| simplify(value, ids)),
        Value::String(text) => *text = plain(text, ids),
        _ => {}
    }
}

/// A text in which ids are called by what they are; so are those in a path.
fn plain(text: &str, ids: &Ids) -> String {
    if let Some((before, last)) = text.rsplit_once('/') {
        return format!("{}/{}", plain(before, ids), plain(last, ids));
    }
    // With hyphens or without.
    if text.parse::<Uuid>().is_ok() {
        return "an id".to_owned();
    }
    if text.parse::<jiff::Timestamp>().is_ok() {
        return "a time".to_owned();
    }
    if text.starts_with("offer-") {
        return "an offer".to_owned();
    }
    ids.all().iter().fold(text.to_owned(), |text, (what, id)| text.replace(id, what))
}

#[actix_web::test]
async fn another_parks_ids_are_as_nobodys_on_every_operation() {
    let app = TestApp::builder().config(QUICK).start().await;
    let operations = guarded(&app.anonymous()).await;
    let mut walked = 0;
    for (number, operation) in operations.iter().enumerate() {
        let row = row_of(operation).unwrap_or_else(|| panic!("{operation} has no row"));
        if !matches!(row.whose, Whose::Nobodys(_)) {
            Case::make(&app, number, operation, row).await.walk().await;
            walked += 1;
        }
    }
    assert!(walked >= 48, "{walked} operations");
}

/// What belongs to no park cannot be told a park, either.
#[actix_web::test]
async fn a_park_that_is_named_where_none_belongs_is_refused_or_ignored() {
    let app = TestApp::start().await;
    let root = app.anonymous();
    for operation in guarded(&root).await {
        let row = row_of(&operation).unwrap_or_else(|| panic!("{operation} has no row"));
        let ids = Ids::of_nobody("park-1");
        let mut request = (row.requests)(&ids).swap_remove(0);
        let caller = caller(&root, &operation, &ids);
        if let (Whose::Callers, Some(Value::Object(body))) = (row.whose, &mut request.body) {
            // Orders pass members on; int-api is told the park that calls.
            let passes_on = operation.template.starts_with("/fleet-orders-manager");
            body.insert("park_id".to_owned(), "park-2".into());
            let reply = call(&caller, &operation, &ids, &request).await;
            if !passes_on {
                reply.invalid_at("/park_id");
            }
        }
        if row.whose == Whose::Callers && operation.takes("limit") {
            let request = Request { query: "park_id=park-2".to_owned(), ..request.clone() };
            call(&caller, &operation, &ids, &request).await.problem(400, "invalid_query");
        }
    }
    assert!(app.sandbox.orders("park-2").is_empty(), "orders are the caller's park's");
}
