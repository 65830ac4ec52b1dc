//! Path and query parameters, with our errors.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::platform::error::{Error, Kind, Result};

/// Path parameters. What is no id cannot be the id of anything: 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Path<T> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parsed = web::Path::<T>::from_request(request, payload).into_inner();
        ready(parsed.map(|path| Self(path.into_inner())).map_err(|error| {
            Error::not_found("not_found", "There is no such thing in the caller's park.")
                .with_source(error.to_string())
        }))
    }
}

impl<T: PartialEq> Path<T> {
    /// A body that is written to the path may name its own id: this one.
    ///
    /// # Errors
    /// 400 at `/id`.
    pub fn must_be(&self, named: Option<&T>) -> Result<()> {
        match named {
            Some(named) if *named != self.0 => {
                Err(Error::invalid("/id", "must be the id in the path"))
            }
            _ => Ok(()),
        }
    }
}

/// Query parameters; unknown ones are refused where the type says so.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<T>::from_query(request.query_string());
        ready(parsed.map(|query| Self(query.into_inner())).map_err(|error| {
            let text = error.to_string();
            let detail = text.rsplit_once(": ").map_or(text.as_str(), |(_, detail)| detail);
            Error::new(
                Kind::InvalidInput,
                "invalid_query",
                format!("The query is not valid: {detail}."),
            )
        }))
    }
}
