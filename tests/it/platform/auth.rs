//! Every operation of the API document, as callers who may not call it.

use sha2::{Digest, Sha256};

use super::{NOBODY, PARK};
use crate::support::api::Operation;
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};

/// Audiences, and the test caller that may call as each and as no other.
const AUDIENCES: [(&str, &str); 4] = [
    ("dispatcher", "test-dispatcher"),
    ("driver", "test-driver"),
    ("internal", "test-internal"),
    ("takeout", "test-takeout"),
];

/// An id of each kind that is nobody's.
fn nobodys(parameter: &str) -> &'static str {
    if parameter == "item_id" { "01890a5d-ac96-774b-bcce-b302099a8057" } else { NOBODY }
}

/// Calls it with ids that are nobody's and an empty body.
async fn call(operation: &Operation, caller: &Caller) -> Reply {
    let body = operation.takes_body().then(|| "{}".to_owned());
    let reply = caller
        .send(operation.method.clone(), &operation.path(|name| Some(nobodys(name))), body)
        .await;
    operation.assert_documents(reply.status);
    reply
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    Operation::all(&app.anonymous()).await
}

/// The operations of domains, each with its audience and the caller that may call it.
async fn guarded(app: &TestApp) -> Vec<(Operation, &'static str)> {
    let mut found = Vec::new();
    for operation in operations(app).await {
        let Some(audience) = operation.audience() else { continue };
        let known = AUDIENCES.iter().find(|(name, _)| *name == audience);
        let (_, token) = known.unwrap_or_else(|| panic!("{operation}: no such audience"));
        found.push((operation, *token));
    }
    assert!(found.len() >= 18, "{} operations", found.len());
    found
}

fn with_identity(caller: &Caller) -> Caller {
    caller
        .header("X-Park-Id", PARK)
        .header("X-Dispatcher-Id", "1")
        .header("X-Driver-Profile-Id", "driver-1")
        // Refused where it means something: there the answer would not end.
        .header("Last-Event-ID", "none")
}

#[actix_web::test]
async fn without_a_known_token_every_operation_is_closed() {
    let app = TestApp::start().await;
    let anonymous = with_identity(&app.anonymous());
    for (operation, token) in guarded(&app).await {
        for caller in [
            anonymous.clone(),
            anonymous.token("unknown"),
            anonymous.header("Authorization", token),
            anonymous.header("Authorization", &format!("Basic {token}")),
            anonymous.header("Authorization", "Bearer "),
        ] {
            let reply = call(&operation, &caller).await;
            reply.problem(401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{operation}");
        }
    }
}

#[actix_web::test]
async fn a_token_of_another_audience_opens_nothing() {
    let app = TestApp::start().await;
    let anonymous = with_identity(&app.anonymous());
    for (operation, own) in guarded(&app).await {
        for (_, token) in AUDIENCES {
            let reply = call(&operation, &anonymous.token(token)).await;
            let is_closed = reply.status == 403;
            assert_eq!(is_closed, token != own, "{operation} as {token}: {}", reply.text());
            if is_closed {
                reply.problem(403, "forbidden");
            }
        }
    }
}

#[actix_web::test]
async fn a_token_limited_to_a_domain_opens_no_other() {
    let digest: String =
        Sha256::digest("elsewhere").iter().map(|byte| format!("{byte:02x}")).collect();
    let limited = format!(
        "[[auth.callers]]\nname = 'elsewhere'\ntoken_sha256 = '{digest}'\n\
         audiences = ['dispatcher', 'driver', 'internal', 'takeout']\n\
         domains = ['fleet-orders-manager']\n"
    );
    let app = TestApp::builder().config(limited).start().await;
    let caller = with_identity(&app.anonymous()).token("elsewhere");
    let mut opened = 0;
    for (operation, _) in guarded(&app).await {
        let reply = call(&operation, &caller).await;
        if operation.template.starts_with("/fleet-orders-manager/") {
            assert_ne!(reply.status, 403, "{operation}");
            opened += 1;
        } else {
            reply.problem(403, "forbidden");
        }
    }
    assert!(opened > 0, "it opens its own");
}

#[actix_web::test]
async fn identities_are_asked_for_by_every_operation_whose_audience_has_one() {
    let app = TestApp::start().await;
    let (long, not_ascii) = ("x".repeat(65), "\u{43f}");
    let ids = ["", "a b", long.as_str(), not_ascii];
    let numbers = ["", "one", "1.5", "9223372036854775808", "0x10"];
    for (operation, token) in guarded(&app).await {
        let headers: &[(&str, &[&str])] = match operation.audience().expect("an audience") {
            "dispatcher" => &[("X-Park-Id", &ids), ("X-Dispatcher-Id", &numbers)],
            "driver" => &[("X-Park-Id", &ids), ("X-Driver-Profile-Id", &ids)],
            _ => &[],
        };
        let caller = with_identity(&app.anonymous()).token(token);
        for (name, malformed) in headers {
            let reply = call(&operation, &caller.without(name)).await;
            let problem = reply.problem(400, "invalid_identity");
            assert!(problem["detail"].as_str().expect("a text").contains(name), "{problem}");
            for value in *malformed {
                call(&operation, &caller.header(name, value))
                    .await
                    .problem(400, "invalid_identity");
            }
        }
    }
}

#[actix_web::test]
async fn service_routes_need_no_token() {
    let app = TestApp::start().await;
    let service: Vec<Operation> =
        operations(&app).await.into_iter().filter(|one| one.audience().is_none()).collect();
    assert_eq!(service.len(), 5);
    for operation in service {
        let reply = call(&operation, &app.anonymous()).await;
        assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
    }
    assert_eq!(app.anonymous().get("docs/").await.status, 200);
}

#[actix_web::test]
async fn every_operation_has_a_name_of_its_own_and_tells_its_failures() {
    let app = TestApp::start().await;
    let mut names = std::collections::HashSet::new();
    for operation in operations(&app).await {
        let name = operation.description["operationId"].as_str();
        let name = name.unwrap_or_else(|| panic!("{operation} has no operationId"));
        assert!(names.insert(name.to_owned()), "{operation}: {name} is taken");
        assert!(operation.description["tags"].is_array(), "{operation} has no tag");
        if operation.audience().is_none() {
            continue;
        }
        let mut statuses = vec!["400", "401", "403", "408", "500", "503", "504"];
        if operation.takes_body() {
            statuses.extend(["413", "415"]);
        }
        for status in statuses {
            let content = &operation.description["responses"][status]["content"];
            assert!(content["application/problem+json"].is_object(), "{operation}: {status}");
        }
        let security = &operation.description["security"];
        assert!(security.is_null(), "{operation} loosens the document's security: {security}");
    }
}
