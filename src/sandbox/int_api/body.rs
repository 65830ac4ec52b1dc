//! What comes in: a JSON object whose fields stay as they were written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::super::refuse;

/// An object, each value in the very bytes that came in.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// An answer that is not 200.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) code: &'static str,
    message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(super) fn conflict(code: &'static str, message: &'static str) -> Self {
        Self { status: StatusCode::CONFLICT, code, message: message.into() }
    }

    pub(super) fn not_found() -> Self {
        let message = "there is no such order".into();
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message }
    }
}

impl From<Refusal> for HttpResponse {
    fn from(refusal: Refusal) -> Self {
        refuse(refusal.status, refusal.code, &refusal.message)
    }
}

#[derive(Deserialize)]
pub(super) struct Point {
    pub(super) lat: f64,
    pub(super) lon: f64,
    #[serde(default, rename = "address")]
    _address: Option<String>,
}

/// A request's body; that of a draft is kept with its order.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) park_id: String,
    pub(super) fields: Fields,
}

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let fields: Fields = serde_json::from_slice(bytes)
            .map_err(|_| Refusal::bad_request("bad_request", "the body is not a JSON object"))?;
        if fields.contains_key("phone") {
            let message = "a plain phone must not come here: send personal_phone_id";
            return Err(Refusal::bad_request("phone_not_allowed", message));
        }
        let mut body = Self { park_id: String::new(), fields };
        body.park_id = body.text("park_id")?;
        Ok(body)
    }

    /// A field that may be missing or null.
    pub(super) fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(raw) = self.fields.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map_err(|_| Refusal::bad_request("bad_request", format!("`{name}` is malformed")))
    }

    pub(super) fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, Refusal> {
        self.optional(name)?
            .ok_or_else(|| Refusal::bad_request("bad_request", format!("`{name}` is required")))
    }

    /// A string that says something.
    pub(super) fn text(&self, name: &str) -> Result<String, Refusal> {
        let text: String = self.required(name)?;
        if text.trim().is_empty() {
            return Err(Refusal::bad_request("bad_request", format!("`{name}` is empty")));
        }
        Ok(text)
    }

    /// At least one point, each on the Earth.
    pub(super) fn route(&self) -> Result<Vec<Point>, Refusal> {
        let bad = |message| Refusal::bad_request("bad_route", message);
        let route: Vec<Point> =
            self.required("route").map_err(|_| bad("`route` must be a list of points"))?;
        if route.is_empty() {
            return Err(bad("`route` has no point"));
        }
        let on_earth = |point: &Point| point.lat.abs() <= 90.0 && point.lon.abs() <= 180.0;
        if !route.iter().all(on_earth) {
            return Err(bad("a point is not on the Earth"));
        }
        Ok(route)
    }

    pub(super) fn classes(&self) -> Result<Vec<String>, Refusal> {
        let bad = |message| Refusal::bad_request("bad_classes", message);
        let classes: Vec<String> =
            self.required("classes").map_err(|_| bad("`classes` must be a list of names"))?;
        if classes.is_empty() || classes.iter().any(|class| class.trim().is_empty()) {
            return Err(bad("`classes` lacks a name"));
        }
        Ok(classes)
    }

    /// What an estimate and a draft have in common.
    pub(super) fn check_order(&self) -> Result<(), Refusal> {
        self.route()?;
        self.classes()?;
        self.optional::<String>("personal_phone_id")?;
        Ok(())
    }

    /// What a draft has besides.
    pub(super) fn check_draft(&self) -> Result<(), Refusal> {
        self.check_order()?;
        let dispatcher = self.required::<Box<RawValue>>("dispatcher_id")?;
        if dispatcher.get().trim_matches('"').parse::<i64>().is_err() {
            let message = "`dispatcher_id` is not a 64-bit integer";
            return Err(Refusal::bad_request("bad_request", message));
        }
        let mode = self.text("dispatch_mode")?;
        if !["whitelabel", "saas", "aggregator"].contains(&mode.as_str()) {
            return Err(Refusal::bad_request("bad_request", "`dispatch_mode` is unknown"));
        }
        self.text("source")?;
        self.optional::<String>("offer_id")?;
        Ok(())
    }
}
