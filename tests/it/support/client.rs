//! Calls the server as its callers do.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::Bytes;
use awc::http::header::HeaderMap;
use serde_json::Value;

/// Largest answer that a test reads.
/// Longer than any server here lets its callers wait.
const ANSWER: Duration = Duration::from_mins(1);
const BODY_LIMIT: usize = 64 << 20;

/// The dispatcher whose calls the tests make.
pub const DISPATCHER_ID: &str = "4711";

/// Somebody who calls, and below which path. Cheap to clone; each variation is a new one.
#[derive(Clone)]
pub struct Caller {
    http: awc::Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// A caller without a token.
    pub fn anonymous(base: impl Into<String>) -> Self {
        // Plain HTTP needs no cryptography, but the connector asks for a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = awc::Client::builder()
            .connector(awc::Connector::new().limit(0).timeout(Duration::from_secs(5)))
            .disable_redirects()
            .disable_timeout()
            .finish();
        Self { http, base: base.into(), headers: Vec::new() }
    }

    /// The same with a token.
    pub fn token(&self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// The same with a header more; one of that name is replaced.
    pub fn header(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    /// The same without a header.
    pub fn without(&self, name: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        caller
    }

    /// The same, whose paths are below this one.
    pub fn below(&self, path: &str) -> Self {
        Self { base: format!("{}/{path}", self.base), ..self.clone() }
    }

    /// At the root: a dispatcher of `park`; paths are below the domain's routes for dispatchers.
    pub fn dispatcher(&self, domain: &str, park: &str) -> Self {
        self.of("test-dispatcher", domain, "dispatcher")
            .header("X-Park-Id", park)
            .header("X-Dispatcher-Id", DISPATCHER_ID)
    }

    /// At the root: a driver of `park`; paths are below the domain's routes for drivers.
    pub fn driver(&self, domain: &str, park: &str, id: &str) -> Self {
        self.of("test-driver", domain, "driver")
            .header("X-Park-Id", park)
            .header("X-Driver-Profile-Id", id)
    }

    /// At the root: another service.
    pub fn internal(&self, domain: &str) -> Self {
        self.of("test-internal", domain, "internal")
    }

    /// At the root: the data-subject service.
    pub fn takeout(&self, domain: &str) -> Self {
        self.of("test-takeout", domain, "takeout")
    }

    /// At the root: whoever has this token.
    pub fn of(&self, token: &str, domain: &str, audience: &str) -> Self {
        self.below(&format!("{domain}/{audience}/v1")).token(token)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Value>) -> Reply {
        self.send(Method::POST, path, Some(body.into().to_string())).await
    }

    pub async fn put(&self, path: &str, body: impl Into<Value>) -> Reply {
        self.send(Method::PUT, path, Some(body.into().to_string())).await
    }

    pub async fn patch(&self, path: &str, body: impl Into<Value>) -> Reply {
        self.send(Method::PATCH, path, Some(body.into().to_string())).await
    }

    /// A call with any body, whole or not JSON at all; one with a body is announced as JSON unless
    /// a header says otherwise. Panics when there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Reply {
        let what = format!("{method} {}/{path}", self.base);
        let answer = self.try_send(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// The same for a server that may not answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Reply, String> {
        let exchange = async {
            let mut request = self.http.request(method.clone(), format!("{}/{path}", self.base));
            if body.is_some() {
                request = request.insert_header(("Content-Type", "application/json"));
            }
            for (name, value) in &self.headers {
                request = request.insert_header((name.as_str(), value.as_str()));
            }
            let sent = match body {
                Some(body) => request.send_body(body),
                None => request.send(),
            };
            let mut response = sent.await.map_err(|error| error.to_string())?;
            let body =
                response.body().limit(BODY_LIMIT).await.map_err(|error| error.to_string())?;
            Ok(Reply {
                what: format!("{method} /{path}"),
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body,
            })
        };
        let answer = tokio::time::timeout(ANSWER, exchange).await;
        answer.unwrap_or_else(|_| Err(format!("no answer in {ANSWER:?}")))
    }
}

impl Caller {
    /// Begins to read an answer that does not end by itself; its body is the caller's to read.
    pub async fn open(&self, path: &str) -> Result<Opened, String> {
        let mut request = self.http.get(format!("{}/{path}", self.base));
        for (name, value) in &self.headers {
            request = request.insert_header((name.as_str(), value.as_str()));
        }
        let sent = tokio::time::timeout(ANSWER, request.send()).await;
        sent.map_err(|_| format!("no answer in {ANSWER:?}"))?.map_err(|error| error.to_string())
    }
}

/// An answer whose head has come.
pub type Opened = awc::ClientResponse;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// The version, as it is to be sent back in `If-Match`.
    #[track_caller]
    pub fn etag(&self) -> &str {
        let etag = self.header("etag");
        assert!(!etag.is_empty(), "{} has no ETag: {}", self.what, self.text());
        etag
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} answered {}, no JSON ({error}): {}", self.what, self.status, self.text())
        })
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem in an answer that must be one, with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.what);
        assert_eq!(problem["status"], status, "{}: {problem}", self.what);
        assert_eq!(problem["code"], code, "{}: {problem}", self.what);
        for member in ["type", "title", "detail", "trace_id"] {
            assert!(problem[member].is_string(), "no {member}: {problem}");
        }
        problem
    }

    /// Asserts that the body was refused, and that the fault is at this place of it.
    #[track_caller]
    pub fn invalid_at(&self, pointer: &str) {
        let problem = self.problem(400, "invalid_request");
        let faults = problem["errors"].as_array().expect("errors");
        let found = faults.iter().any(|fault| fault["pointer"] == pointer);
        assert!(found, "{}: no fault at {pointer:?}: {problem}", self.what);
    }
}
