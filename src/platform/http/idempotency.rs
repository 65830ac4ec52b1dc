//! The `Idempotency-Key` header.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::headers;
use super::identity::Driver;
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ParkId;

/// Longest key, in characters.
const MAX_KEY_LENGTH: usize = 255;

/// A key the caller may have sent, with the route it was sent to.
pub struct IdempotencyKey {
    key: Option<String>,
    route: String,
    path: String,
}

impl IdempotencyKey {
    /// The call that this key guards, `None` when the caller sent no key.
    #[must_use]
    pub fn guard(
        &self,
        context: &Context,
        park: Option<&ParkId>,
        body: &[u8],
    ) -> Option<IdempotentCall> {
        self.call(context, park, &self.route, body)
    }

    /// The same for a driver, who shares caller, park and route with all drivers of the park: his key
    /// is his own.
    #[must_use]
    pub fn guard_of_driver(&self, driver: &Driver, body: &[u8]) -> Option<IdempotentCall> {
        // An id has no space in it, and neither has a route.
        let route = format!("{} {}", self.route, driver.driver_profile_id);
        self.call(&driver.context, Some(&driver.park), &route, body)
    }

    fn call(
        &self,
        context: &Context,
        park: Option<&ParkId>,
        route: &str,
        body: &[u8],
    ) -> Option<IdempotentCall> {
        let key = self.key.as_deref()?;
        let park = park.map_or("", ParkId::as_str);
        let request = [self.path.as_bytes(), &canonical(body)];
        Some(IdempotentCall::new(&context.caller, park, route, key, &request))
    }

    /// The key as the caller sent it, for an upstream that guards the call itself.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// Two spellings of the same JSON are the same body: keys sorted, white space gone.
pub(super) fn canonical(body: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|value| serde_json::to_vec(&value))
        .unwrap_or_else(|_| body.to_vec())
}

impl FromRequest for IdempotencyKey {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let printable = |text: &&str| {
            (1..=MAX_KEY_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let key = match headers::single(request.headers(), "idempotency-key") {
            Err(error) => Err(error),
            Ok(None) => Ok(None),
            Ok(Some(value)) => match value.to_str().ok().filter(printable) {
                Some(key) => Ok(Some(key.to_owned())),
                None => Err(Error::new(
                    Kind::InvalidInput,
                    "invalid_idempotency_key",
                    "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.",
                )),
            },
        };
        ready(key.map(|key| Self {
            route: key.as_ref().and_then(|_| request.match_pattern()).unwrap_or_default(),
            path: key.as_ref().map(|_| request.path().to_owned()).unwrap_or_default(),
            key,
        }))
    }
}

/// The header, for the API documentation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its description is used")]
pub struct IdempotencyHeader {
    /// Repeating a call with the same key within 24 hours returns the first answer.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$",
        required = false
    )]
    idempotency_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_json_in_another_spelling_is_the_same_request() {
        let key = IdempotencyKey { key: Some("k".into()), route: "/r".into(), path: "/r".into() };
        let context = Context::background("caller", std::time::Duration::from_secs(1));
        let guard = |park: &str, body: &str| {
            key.guard(&context, Some(&ParkId::parse(park).unwrap()), body.as_bytes()).unwrap()
        };
        assert_eq!(guard("p", r#"{"a":1,"b":2}"#), guard("p", r#"{ "b": 2, "a": 1 }"#));
        assert_ne!(guard("p", r#"{"a":1}"#).request, guard("p", r#"{"a":2}"#).request);
        assert_ne!(guard("p", "{}").scope, guard("q", "{}").scope);
    }

    #[test]
    fn two_drivers_of_a_park_do_not_share_a_key() {
        let key = IdempotencyKey { key: Some("k".into()), route: "/r".into(), path: "/r".into() };
        let guard = |id: &str| {
            let driver = Driver {
                context: Context::background("caller", std::time::Duration::from_secs(1)),
                park: ParkId::parse("p").unwrap(),
                driver_profile_id: id.to_owned(),
            };
            key.guard_of_driver(&driver, b"{}").unwrap()
        };
        assert_eq!(guard("one"), guard("one"));
        assert_ne!(guard("one").scope, guard("two").scope);
    }
}
