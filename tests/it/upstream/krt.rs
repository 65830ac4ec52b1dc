//! KRT: the client against its stand-in, and the stand-in itself.

use std::time::Duration;

use fleet::platform::context::Context;
use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{UpstreamError, UpstreamMetrics};
use fleet::sandbox::{Sandbox, SandboxLicense};
use fleet::upstreams::krt::{
    Krt, KrtError, KrtPaths, Line, Match, Outcome, Report, Shift, ShiftStatus,
};
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use super::plain::Plain;
use super::{ctx, settings};
use crate::support::app::start_sandbox;
use crate::support::eventually;

struct Rig {
    sandbox: Sandbox,
    krt: Krt,
    token: SecretString,
}

fn client(sandbox: &Sandbox) -> Krt {
    let paths = KrtPaths {
        token: "/api/v1/token".into(),
        check: "/api/v1/drivers/check".into(),
        status: "/api/v1/statuses".into(),
        bulk: "/api/v1/statuses/bulk".into(),
    };
    let mut settings = settings(sandbox.base_url("krt"));
    settings.token = SecretString::default();
    Krt::new(&settings, paths, &UpstreamMetrics::register(&Metrics::default())).unwrap()
}

async fn rig() -> Rig {
    let sandbox = start_sandbox();
    let krt = client(&sandbox);
    let token = krt.token(&ctx(), "fleet", &"sandbox".into()).await.unwrap().token;
    Rig { sandbox, krt, token }
}

fn license(index: u64) -> SandboxLicense {
    fleet::sandbox::SandboxDriver::of(index).license.unwrap()
}

fn report(index: u64, status: Line, request_id: &str) -> Report {
    let SandboxLicense { number, krt_id, .. } = license(index);
    Report {
        driver_id: krt_id.into(),
        license_number: number.into(),
        status,
        occurred_at: "2026-11-25T10:00:00.123456Z".parse().unwrap(),
        request_id: request_id.into(),
    }
}

impl Rig {
    async fn report(&self, report: &Report) -> Result<Outcome, KrtError> {
        self.krt.report(&ctx(), &self.token, report).await
    }
}

#[actix_web::test]
async fn a_token_is_given_for_login_and_password() {
    let sandbox = start_sandbox();
    let krt = client(&sandbox);
    let refused = krt.token(&ctx(), "fleet", &"wrong".into()).await.unwrap_err();
    assert_eq!(refused, KrtError::Unauthorised);
    assert_eq!(krt.trouble(), Some("unauthorized"));
    let token = krt.token(&ctx(), "fleet", &"sandbox".into()).await.unwrap();
    assert_eq!(krt.trouble(), None);
    let lasts = token.expires_at.duration_since(Timestamp::now());
    assert!((3_500..=3_600).contains(&lasts.as_secs()), "{lasts:?}");
}

#[actix_web::test]
async fn a_login_that_was_refused_is_no_trouble_once_a_token_is_taken() {
    let rig = rig().await;
    rig.krt.token(&ctx(), "fleet", &"wrong".into()).await.unwrap_err();
    assert_eq!(rig.krt.trouble(), Some("unauthorized"));
    rig.report(&report(0, Line::OnLine, "r")).await.unwrap();
    assert_eq!(rig.krt.trouble(), None);
}

#[actix_web::test]
async fn a_refused_token_is_told_apart_and_says_nothing_of_the_login() {
    let rig = rig().await;
    rig.sandbox.revoke_krt_tokens();
    let report = report(0, Line::OnLine, "r");
    assert_eq!(rig.report(&report).await, Err(KrtError::Unauthorised));
    let SandboxLicense { number, krt_id, .. } = license(0);
    let checked = rig.krt.check(&ctx(), &rig.token, &krt_id.into(), &number.into()).await;
    assert_eq!(checked, Err(KrtError::Unauthorised));
    let bulk = rig.krt.report_bulk(&ctx(), &rig.token, &[report]).await;
    assert_eq!(bulk, Err(KrtError::Unauthorised));
    assert_eq!(rig.krt.trouble(), None);
    rig.sandbox.set_krt(json!({"token_seconds": 0})).unwrap();
    let expired = rig.krt.token(&ctx(), "fleet", &"sandbox".into()).await.unwrap().token;
    let late = rig.krt.check(&ctx(), &expired, &"1".into(), &"1".into()).await;
    assert_eq!(late, Err(KrtError::Unauthorised), "a token ends");
}

#[actix_web::test]
async fn an_id_is_compared_with_a_licence() {
    let rig = rig().await;
    let check = async |id: &str, number: &str| {
        rig.krt.check(&ctx(), &rig.token, &id.into(), &number.into()).await
    };
    let SandboxLicense { number, krt_id, .. } = license(0);
    assert_eq!(check(&krt_id, &number).await, Ok(Match::Yes));
    assert_eq!(check(&krt_id, &license(1).number).await, Ok(Match::No));
    assert_eq!(check("nobody", &number).await, Ok(Match::UnknownId));
    rig.sandbox.set_krt_driver("nobody", json!({"license_number": "99 99 999999"})).unwrap();
    assert_eq!(check("nobody", "99 99 999999").await, Ok(Match::Yes));
}

#[actix_web::test]
async fn a_report_is_answered_with_the_shift_and_taken_once() {
    let rig = rig().await;
    let off = rig.report(&report(0, Line::OffLine, "r-0")).await;
    let not_started = Shift { status: ShiftStatus::NotStarted, ended_at: None };
    assert_eq!(off, Ok(Outcome::Taken(not_started)));
    let on = rig.report(&report(0, Line::OnLine, "r-1")).await.unwrap();
    let Outcome::Taken(Shift { status: ShiftStatus::Active, ended_at: Some(end) }) = on else {
        panic!("{on:?}");
    };
    assert!(end > Timestamp::now());
    assert_eq!(rig.report(&report(0, Line::OffLine, "r-1")).await, Ok(on), "the same one again");

    let krt_id = license(0).krt_id;
    let kept = rig.sandbox.reported(&krt_id);
    let seen: Vec<_> = kept.iter().map(|kept| (kept.request_id.as_str(), kept.on_line)).collect();
    assert_eq!(seen, [("r-0", false), ("r-1", true)]);
    assert_eq!(kept[1].occurred_at, "2026-11-25T10:00:00.123456Z".parse().unwrap());
    let counts = rig.sandbox.krt_counts();
    assert_eq!((counts.reports, counts.repeated, counts.tokens), (2, 1, 1));

    let pinned = json!({"session_status": "resting", "ended_at": "2040-01-01T00:00:00Z"});
    rig.sandbox.set_krt_driver(&krt_id, pinned).unwrap();
    let ended_at = Some("2040-01-01T00:00:00Z".parse().unwrap());
    let resting = Outcome::Taken(Shift { status: ShiftStatus::Resting, ended_at });
    assert_eq!(rig.report(&report(0, Line::OnLine, "r-2")).await, Ok(resting));
}

#[actix_web::test]
async fn what_can_never_be_taken_is_told_apart_from_what_can_later() {
    let rig = rig().await;
    let mut unknown = report(0, Line::OnLine, "r-1");
    unknown.driver_id = "nobody".into();
    assert_eq!(rig.report(&unknown).await, Ok(Outcome::UnknownId));
    let mut other = report(0, Line::OnLine, "r-2");
    other.license_number = license(1).number.into();
    assert_eq!(rig.report(&other).await, Ok(Outcome::Invalid));

    rig.sandbox.set_krt(json!({"per_second": 1})).unwrap();
    let mut limited = None;
    for n in 0..5 {
        if let Err(error) = rig.report(&report(n, Line::OnLine, &format!("l-{n}"))).await {
            limited = Some(error);
        }
    }
    let retry_after = Some(Duration::from_secs(1));
    assert_eq!(limited, Some(KrtError::TooMany { retry_after }));
    assert!(rig.sandbox.krt_counts().limited > 0);

    // A path that is wrong, or a proxy that is lost, does not make every driver unknown.
    let lost = json!({"kind": "answer", "status": 404, "body": "no such page"});
    rig.sandbox.set_fault("krt", lost).unwrap();
    let error = rig.report(&report(0, Line::OnLine, "r-3")).await.unwrap_err();
    assert!(matches!(error, KrtError::Unavailable(UpstreamError::Status { .. })), "{error}");
}

#[actix_web::test]
async fn a_report_is_sent_once_whatever_happens_to_it() {
    let rig = rig().await;
    for fault in [
        json!({"kind": "status", "status": 503, "retry_after": 7}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
        json!({"kind": "truncate"}),
        json!({"kind": "close_after_work"}),
    ] {
        let before = rig.sandbox.calls("krt", "POST /api/v1/statuses");
        rig.sandbox.set_fault("krt", fault.clone()).unwrap();
        let sent = rig.report(&report(0, Line::OnLine, "once")).await;
        assert!(matches!(sent, Err(KrtError::Unavailable(_))), "{fault}: {sent:?}");
        assert_eq!(rig.sandbox.calls("krt", "POST /api/v1/statuses"), before + 1, "{fault}");
        rig.sandbox.clear_fault("krt");
    }
    rig.report(&report(0, Line::OnLine, "once")).await.unwrap();
    assert_eq!(rig.sandbox.reported(&license(0).krt_id).len(), 1);
}

#[actix_web::test]
async fn many_are_reported_at_once_each_with_its_outcome() {
    let rig = rig().await;
    let mut reports: Vec<_> =
        [0, 1, 2, 3].map(|n| report(n, Line::OnLine, &format!("b-{n}"))).into();
    reports[1].driver_id = "nobody".into();
    reports[2].license_number = "other".into();
    let outcomes = rig.krt.report_bulk(&ctx(), &rig.token, &reports).await.unwrap();
    assert!(matches!(outcomes[0], Ok(Outcome::Taken(_))), "{outcomes:?}");
    assert_eq!(outcomes[1..3], [Ok(Outcome::UnknownId), Ok(Outcome::Invalid)]);
    assert!(matches!(outcomes[3], Ok(Outcome::Taken(_))));

    rig.sandbox.set_krt(json!({"per_second": 1})).unwrap();
    let again: Vec<_> = [4, 5, 6].map(|n| report(n, Line::OnLine, &format!("b-{n}"))).into();
    let outcomes = rig.krt.report_bulk(&ctx(), &rig.token, &again).await.unwrap();
    assert_eq!(outcomes[2], Err(KrtError::TooMany { retry_after: None }));

    let body = json!({"items": [
        {"request_id": "b-0", "code": 200},
        {"request_id": "b-1", "code": 500},
        {"request_id": "b-2", "code": 401},
    ]});
    rig.sandbox.set_fault("krt", json!({"kind": "answer", "status": 200, "body": body})).unwrap();
    let outcomes = rig.krt.report_bulk(&ctx(), &rig.token, &reports).await.unwrap();
    for (index, outcome) in outcomes.iter().enumerate() {
        match index {
            2 => assert_eq!(outcome, &Err(KrtError::Unauthorised)),
            _ => assert!(matches!(outcome, Err(KrtError::Unavailable(_))), "{index}: {outcome:?}"),
        }
    }
    rig.sandbox.clear_fault("krt");
    rig.sandbox.set_krt(json!({"bulk": false})).unwrap();
    let outcome = rig.krt.report_bulk(&ctx(), &rig.token, &reports).await;
    assert_eq!(outcome, Err(KrtError::NoBulk));
}

#[actix_web::test]
async fn nothing_secret_can_be_printed() {
    let rig = rig().await;
    let SandboxLicense { number, krt_id, .. } = license(0);
    let report = report(0, Line::OnLine, "r");
    let mut printed = format!("{report:?} {:?}", rig.report(&report).await);
    for fault in [
        json!({"kind": "answer", "status": 400, "body": {"code": krt_id, "message": number}}),
        json!({"kind": "answer", "status": 200, "body": {"session_status": number}}),
        json!({"kind": "status", "status": 503}),
    ] {
        rig.sandbox.set_fault("krt", fault).unwrap();
        let error = rig.report(&report).await.unwrap_err();
        let context: Context = ctx();
        let (id, license) = (krt_id.clone().into(), number.clone().into());
        let checked = rig.krt.check(&context, &rig.token, &id, &license).await.unwrap_err();
        printed += &format!(" {error} {error:?} {checked} {checked:?}");
    }
    for secret in [krt_id, number] {
        assert!(!printed.contains(&secret), "{printed}");
    }
}

#[actix_web::test]
async fn the_regulator_is_steered_over_http_too() {
    let plain = Plain::start("krt", "/api/v1/");
    let login = json!({"login": "me", "password": "mine"});
    assert_eq!(plain.control("PUT", "/krt", Some(login.clone())).await.0, 204);
    let (status, token) = plain.post("token", &login).await;
    assert_eq!(status, 200, "{token}");
    let authorised =
        plain.with_header("Authorization", &format!("Bearer {}", token["token"].as_str().unwrap()));
    let driver = json!({"license_number": "1234"});
    assert_eq!(plain.control("PUT", "/krt/drivers/abc", Some(driver)).await.0, 204);
    let report = json!({
        "driver_id": "abc", "license_number": "1234", "status": "on_line",
        "occurred_at": "2026-01-01T00:00:00Z", "request_id": "r",
    });
    let (status, shift) = authorised.post("statuses", &report).await;
    assert_eq!((status, &shift["session_status"]), (200, &json!("active")));
    let (_, reports) = plain.control("GET", "/krt/reports", None).await;
    assert_eq!(reports["abc"][0]["request_id"], "r");
    assert_eq!(plain.control("GET", "/krt/counts", None).await.1["reports"], 1);
    assert_eq!(plain.control("DELETE", "/krt/tokens", None).await.0, 204);
    assert_eq!(authorised.post("statuses", &report).await.0, 401);
    assert_eq!(plain.control("PUT", "/krt", Some(json!({"logn": "me"}))).await.0, 400);
}

#[actix_web::test]
async fn calls_in_flight_are_seen_while_they_are_held() {
    let rig = rig().await;
    rig.sandbox.set_fault("krt", json!({"kind": "hold_after_work"})).unwrap();
    let reports: Vec<_> = (0..4).map(|n| report(n, Line::OnLine, &format!("s-{n}"))).collect();
    let sent = join_all(reports.iter().map(|report| rig.report(report)));
    let seen = async {
        eventually("four are under way", async || rig.sandbox.most_in_flight("krt") == 4).await;
        rig.sandbox.clear_fault("krt");
    };
    let (sent, ()) = join(sent, seen).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(rig.sandbox.most_in_flight("krt"), 4);
}
