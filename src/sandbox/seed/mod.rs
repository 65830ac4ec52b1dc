//! Gives an empty fleet server example customers, and some drivers their ids of KRT, through its own
//! API.

pub(super) mod cabinets;

use std::time::Duration;
use std::{io, thread};

use actix_web::rt::System;
use actix_web::rt::time::{sleep, timeout};
use anyhow::{Context as _, bail};
use awc::http::Method;
use awc::http::header::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::world::SandboxDriver;
use crate::platform::context::Context;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::upstream::{Answer, Call, Upstream, UpstreamMetrics, UpstreamSettings};

const CUSTOMERS: u32 = 300;
/// So many of the first drivers of the city have ids, but for the very first: README binds his.
const DRIVERS: u64 = 300;
const DAYS: u32 = 90;
const PATIENCE: Duration = Duration::from_secs(20);
const READY_WITHIN: Duration = Duration::from_mins(1);

const FIRST_NAMES: [&str; 7] = ["Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Жанна"];
const LAST_NAMES: [&str; 5] = ["Коваленко", "Седых", "Черных", "Гончар", "Живаго"];

/// Seeds the server at `base_url` in the background; says in the log how it went.
pub(super) fn spawn(base_url: String) -> io::Result<()> {
    thread::Builder::new().name("seed".into()).spawn(move || {
        System::new().block_on(async {
            match seed(&base_url).await {
                Ok(0) => tracing::info!("there are customers already: none were added"),
                Ok(customers) => tracing::info!(customers, "example customers were added"),
                Err(error) => tracing::error!(error = %format!("{error:#}"), "seeding failed"),
            }
            match bind_drivers(&base_url, DRIVERS).await {
                Ok(drivers) => tracing::info!(drivers, "drivers have their ids of KRT"),
                Err(error) => tracing::warn!(error = %format!("{error:#}"), "drivers have no ids"),
            }
        });
    })?;
    Ok(())
}

/// The server's API, once for each audience.
struct Fleet {
    internal: Upstream,
    dispatcher: Upstream,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct Customer {
    personal_phone_id: String,
}

/// Returns how many customers were added.
async fn seed(base_url: &str) -> anyhow::Result<u32> {
    let metrics = UpstreamMetrics::register(&Metrics::default());
    let fleet = Fleet {
        internal: api(base_url, "sandbox-internal", &metrics)?,
        dispatcher: api(base_url, "sandbox-dispatcher", &metrics)?,
    };
    timeout(READY_WITHIN, ready(&fleet.internal)).await.context("the server is not ready")?;

    let list = "/fleet-customers/dispatcher/v1/customers?limit=1";
    let list = as_dispatcher(Call::new(Method::GET, "customers_list", list), "park-1")?;
    let list: List = send(&fleet.dispatcher, list).await?;
    if !list.items.is_empty() {
        return Ok(0);
    }
    let (run, now) = (uuid::Uuid::now_v7(), Timestamp::now());
    for number in 0..CUSTOMERS {
        let park = if number % 2 == 0 { "park-1" } else { "park-2" };
        let upsert = Call::post(
            "customers_upsert",
            "/fleet-customers/internal/v1/customers/upsert",
            &customer(number, park, now),
        )?;
        let upsert = keyed(upsert, &format!("seed-{run}-{number}"))?;
        let added: Customer = send(&fleet.internal, upsert).await?;
        if number < 6 {
            settings(&fleet, &format!("seed-{run}-{number}"), number, park, &added).await?;
        }
    }
    Ok(CUSTOMERS)
}

/// Binds the ids of the first drivers; again is harmless. Returns how many have one.
async fn bind_drivers(base_url: &str, drivers: u64) -> anyhow::Result<u32> {
    let metrics = UpstreamMetrics::register(&Metrics::default());
    let api = api(base_url, "sandbox-driver", &metrics)?;
    let mut bound = 0;
    for SandboxDriver { park_id, driver_id, license, .. } in (1..drivers).map(SandboxDriver::of) {
        let Some(license) = license else { continue };
        let path = "/deptrans-driver-status-integration/driver/v1/deptrans-status/v1/id";
        let call = Call::post("bind_id", path, &json!({ "id": license.krt_id }))?.idempotent();
        let header = |value: &str| HeaderValue::from_str(value);
        let call = call
            .header(HeaderName::from_static("x-park-id"), header(&park_id)?)
            .header(HeaderName::from_static("x-driver-profile-id"), header(&driver_id)?);
        let _: Value = send(&api, call).await?;
        bound += 1;
    }
    Ok(bound)
}

fn api(base_url: &str, token: &str, metrics: &UpstreamMetrics) -> anyhow::Result<Upstream> {
    let settings = UpstreamSettings {
        base_url: base_url.to_owned(),
        token: SecretString::from(token),
        timeout_ms: 5_000,
        // It is expected not to answer until it is ready.
        breaker_failures: u32::MAX,
        ..UpstreamSettings::default()
    };
    Ok(Upstream::new("fleet", &settings, metrics)?)
}

async fn ready(api: &Upstream) {
    loop {
        let ctx = Context::background("sandbox", PATIENCE);
        let probe = Call::new(Method::GET, "readyz", "/readyz");
        if api.call(&ctx, probe).await.is_ok_and(|reply| reply.status.is_success()) {
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn customer(number: u32, park: &str, now: Timestamp) -> Value {
    let age = SignedDuration::from_hours(i64::from(number * DAYS * 24 / CUSTOMERS));
    json!({
        "park_id": park,
        "name": name(number),
        "phone": format!("+7999{:07}", number + 1),
        "sms_enabled": !number.is_multiple_of(3),
        "order_options": {
            "classes": ["econom"],
            "requirements": {},
            "comment": number.is_multiple_of(5).then_some("Позвонить за пять минут"),
            "payment_type": "cash",
        },
        "ordered_at": now.saturating_sub(age).unwrap_or(now).to_string(),
    })
}

/// Two of three customers gave their name.
fn name(number: u32) -> Option<String> {
    let number = number as usize;
    let first = FIRST_NAMES.get(number % FIRST_NAMES.len())?;
    let last = LAST_NAMES.get(number % LAST_NAMES.len())?;
    (!number.is_multiple_of(3)).then(|| format!("{first} {last}"))
}

/// Two favourite locations, and for some a recurring route between them.
async fn settings(
    fleet: &Fleet,
    key: &str,
    number: u32,
    park: &str,
    customer: &Customer,
) -> anyhow::Result<()> {
    let base = format!("/fleet-customers/dispatcher/v1/customers/{}", customer.personal_phone_id);
    let shift = f64::from(number) * 0.002;
    let home = json!({
        "label": "Дом", "address": "Москва, Тверская улица, 7",
        "lat": 55.7577 + shift, "lon": 37.6117 + shift, "entrance": "2",
    });
    let work = json!({
        "label": "Работа", "address": "Москва, улица Льва Толстого, 16",
        "lat": 55.7340 + shift, "lon": 37.5887 + shift, "comment": "Главный вход",
    });
    for (name, location) in [("home", &home), ("work", &work)] {
        let path = format!("{base}/favourite-locations");
        let call =
            keyed(Call::post("locations_create", path, location)?, &format!("{key}-{name}"))?;
        let _: Value = send(&fleet.dispatcher, as_dispatcher(call, park)?).await?;
    }
    if number < 3 {
        let point = |place: &Value| json!({ "lat": place["lat"], "lon": place["lon"], "address": place["address"] });
        let route = json!({
            "label": "На работу",
            "points": [point(&home), point(&work)],
            "schedule": {
                "weekdays": ["monday"], "local_time": "08:30", "time_zone": "Europe/Moscow",
            },
        });
        let path = format!("{base}/recurring-routes");
        let call = keyed(Call::post("routes_create", path, &route)?, &format!("{key}-route"))?;
        let _: Value = send(&fleet.dispatcher, as_dispatcher(call, park)?).await?;
    }
    Ok(())
}

/// With an idempotency key, a creating call may be repeated.
fn keyed(call: Call, key: &str) -> anyhow::Result<Call> {
    let name = HeaderName::from_static("idempotency-key");
    Ok(call.header(name, HeaderValue::from_str(key)?).idempotent())
}

fn as_dispatcher(call: Call, park: &str) -> anyhow::Result<Call> {
    let park = HeaderValue::from_str(park)?;
    Ok(call
        .header(HeaderName::from_static("x-park-id"), park)
        .header(HeaderName::from_static("x-dispatcher-id"), HeaderValue::from_static("1")))
}

async fn send<T: serde::de::DeserializeOwned>(api: &Upstream, call: Call) -> anyhow::Result<T> {
    let ctx = Context::background("sandbox", PATIENCE);
    let description = format!("{call:?}");
    match api.call_json(&ctx, call).await.context(description.clone())? {
        Answer::Ok(value) => Ok(value),
        Answer::Refused(reply) => {
            let code = reply.code().unwrap_or_default();
            bail!("{description}: {} {code}", reply.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Mutex;

    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

    use super::*;

    type Seen = web::Data<Mutex<Vec<(String, String)>>>;

    /// A fleet server that takes everything: remembers each path and its idempotency key.
    async fn fleet(request: HttpRequest, seen: Seen) -> HttpResponse {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        if request.path().contains("/dispatcher/") {
            assert_eq!(header("authorization"), "Bearer sandbox-dispatcher");
            assert_eq!(header("x-dispatcher-id"), "1");
            assert!(header("x-park-id").starts_with("park-"));
        } else if request.path().contains("/driver/") {
            assert_eq!(header("authorization"), "Bearer sandbox-driver");
            assert!(!header("x-driver-profile-id").is_empty());
        } else if request.path().contains("/internal/") {
            assert_eq!(header("authorization"), "Bearer sandbox-internal");
        }
        let mut seen = seen.lock().unwrap();
        seen.push((request.path().to_owned(), header("idempotency-key")));
        let items: Vec<u8> = if seen.len() > 2 { vec![1] } else { Vec::new() };
        HttpResponse::Ok().json(json!({ "items": items, "personal_phone_id": "0a" }))
    }

    #[actix_web::test]
    async fn an_empty_server_is_seeded_once() {
        let seen = Seen::default();
        let data = seen.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = move || App::new().app_data(data.clone()).default_service(web::to(fleet));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);

        assert_eq!(seed(&url).await.unwrap(), CUSTOMERS);
        assert_eq!(seed(&url).await.unwrap(), 0);
        assert_eq!(bind_drivers(&url, 50).await.unwrap(), 49, "one has no licence");

        handle.stop(false).await;
        let seen = seen.lock().unwrap();
        let count = |end: &str| seen.iter().filter(|(path, _)| path.ends_with(end)).count();
        assert_eq!(count("/internal/v1/customers/upsert"), 300);
        assert_eq!(count("/customers/0a/favourite-locations"), 12);
        assert_eq!(count("/customers/0a/recurring-routes"), 3);
        let mut keys: Vec<_> = seen.iter().map(|(_, key)| key).filter(|k| !k.is_empty()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 315, "a key for each that is created");
    }

    #[test]
    fn customers_are_spread_over_ninety_days_and_have_valid_numbers() {
        let now = Timestamp::now();
        let newest = customer(0, "park-1", now);
        assert_eq!(newest["phone"], "+79990000001");
        assert_eq!(newest["ordered_at"], now.to_string());
        let oldest = customer(CUSTOMERS - 1, "park-2", now);
        assert_eq!(oldest["phone"], "+79990000300");
        let oldest: Timestamp = oldest["ordered_at"].as_str().unwrap().parse().unwrap();
        let days = now.duration_since(oldest).as_hours() / 24;
        assert!((85..=90).contains(&days), "{days}");
    }
}
