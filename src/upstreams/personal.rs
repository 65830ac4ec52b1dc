//! `personal`: keeps phones, names and licence numbers, and gives us ids for them.
//!
//! Every call may be repeated: the same value has the same id, and deleting twice is deleting.

use std::collections::HashMap;

use awc::http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::error::{Error, Result};
use crate::platform::upstream::{
    Answer, Call, Reply, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Most ids in one request.
const BULK: usize = 1_000;

/// What sort of value is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonalKind {
    /// Phone numbers in E.164.
    Phones,
    /// People's names.
    Names,
    /// Driving licence numbers.
    DriverLicenses,
}

/// A route of `personal`, and its label in metrics.
#[derive(Clone, Copy)]
struct Route {
    path: &'static str,
    method: &'static str,
}

/// The routes of one kind.
struct Routes {
    store: Route,
    find: Route,
    retrieve: Route,
    bulk_retrieve: Route,
    delete: Route,
}

/// Paths and labels are constants, so that neither can hold anything personal.
macro_rules! routes {
    ($kind:literal) => {
        Routes {
            store: route!($kind, "store"),
            find: route!($kind, "find"),
            retrieve: route!($kind, "retrieve"),
            bulk_retrieve: route!($kind, "bulk_retrieve"),
            delete: route!($kind, "delete"),
        }
    };
}

macro_rules! route {
    ($kind:literal, $operation:literal) => {
        Route {
            path: concat!("/v1/", $kind, "/", $operation),
            method: concat!($kind, "_", $operation),
        }
    };
}

impl PersonalKind {
    fn routes(self) -> &'static Routes {
        match self {
            Self::Phones => &routes!("phones"),
            Self::Names => &routes!("names"),
            Self::DriverLicenses => &routes!("driver_licenses"),
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum PersonalError {
    /// `personal` does not take this value: not a phone number, an empty name.
    #[error("personal does not accept the value")]
    BadValue,
    /// No usable answer.
    #[error("personal: {0}")]
    Unavailable(#[from] UpstreamError),
}

impl From<PersonalError> for Error {
    /// A service that knows which field the value came from handles `BadValue` itself.
    fn from(error: PersonalError) -> Self {
        match error {
            PersonalError::BadValue => Error::invalid("", "a value is not acceptable"),
            PersonalError::Unavailable(error) => error.into_error("personal_unavailable"),
        }
    }
}

/// The client of `personal`. Cheap to clone.
#[derive(Clone)]
pub struct Personal {
    upstream: Upstream,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    value: SecretString,
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Nothing {}

impl Personal {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("personal", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// The id of `value`, which is kept from now on if it was not before.
    ///
    /// # Errors
    /// [`PersonalError::BadValue`] when `personal` does not take it.
    pub async fn store(
        &self,
        ctx: &Context,
        kind: PersonalKind,
        value: &SecretString,
    ) -> Result<String, PersonalError> {
        let body = json!({ "value": value.expose_secret() });
        match self.post::<Id>(ctx, kind.routes().store, &body).await? {
            Answer::Ok(Id { id }) => Ok(id),
            Answer::Refused(reply) => Err(refusal(&reply)),
        }
    }

    /// The id of `value`, if it is kept. Stores nothing.
    ///
    /// # Errors
    /// [`PersonalError::BadValue`] when `personal` would not take it.
    pub async fn find(
        &self,
        ctx: &Context,
        kind: PersonalKind,
        value: &SecretString,
    ) -> Result<Option<String>, PersonalError> {
        let body = json!({ "value": value.expose_secret() });
        match self.post::<Id>(ctx, kind.routes().find, &body).await? {
            Answer::Ok(Id { id }) => Ok(Some(id)),
            Answer::Refused(reply) if reply.status == StatusCode::NOT_FOUND => Ok(None),
            Answer::Refused(reply) => Err(refusal(&reply)),
        }
    }

    /// The value behind `id`, if it is kept.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn retrieve(
        &self,
        ctx: &Context,
        kind: PersonalKind,
        id: &str,
    ) -> Result<Option<SecretString>, PersonalError> {
        match self.post::<Item>(ctx, kind.routes().retrieve, &json!({ "id": id })).await? {
            Answer::Ok(item) => Ok(Some(item.value)),
            Answer::Refused(reply) if reply.status == StatusCode::NOT_FOUND => Ok(None),
            Answer::Refused(reply) => Err(reply.unexpected().into()),
        }
    }

    /// The values behind `ids`, by id; what is not kept is left out. Asks for 1 000 at a time.
    ///
    /// # Errors
    /// When one of the requests has no usable answer.
    pub async fn bulk_retrieve(
        &self,
        ctx: &Context,
        kind: PersonalKind,
        ids: &[String],
    ) -> Result<HashMap<String, SecretString>, PersonalError> {
        let mut values = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(BULK) {
            let body = json!({ "ids": chunk });
            match self.post::<Items>(ctx, kind.routes().bulk_retrieve, &body).await? {
                Answer::Ok(found) => {
                    values.extend(found.items.into_iter().map(|item| (item.id, item.value)));
                }
                Answer::Refused(reply) => return Err(reply.unexpected().into()),
            }
        }
        Ok(values)
    }

    /// Forgets the values behind `ids`, 1 000 at a time. What is not kept is passed over, so after
    /// an error the whole may be repeated.
    ///
    /// # Errors
    /// When one of the requests has no usable answer; those before it have taken effect.
    pub async fn delete(
        &self,
        ctx: &Context,
        kind: PersonalKind,
        ids: &[String],
    ) -> Result<(), PersonalError> {
        for chunk in ids.chunks(BULK) {
            let body = json!({ "ids": chunk });
            match self.post::<Nothing>(ctx, kind.routes().delete, &body).await? {
                Answer::Ok(Nothing {}) => {}
                Answer::Refused(reply) => return Err(reply.unexpected().into()),
            }
        }
        Ok(())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        route: Route,
        body: &serde_json::Value,
    ) -> Result<Answer<T>, UpstreamError> {
        let call = Call::post(route.method, route.path, body)?.idempotent();
        self.upstream.call_json(ctx, call).await
    }
}

fn refusal(reply: &Reply) -> PersonalError {
    if reply.status == StatusCode::BAD_REQUEST {
        return PersonalError::BadValue;
    }
    reply.unexpected().into()
}
