//! Path and query parameters, with our errors.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};

use crate::platform::error::{Error, Kind, Result};
use crate::platform::validation::told;

/// Path parameters. What is no id cannot be the id of anything: 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Path<T> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parsed = web::Path::<T>::from_request(request, payload).into_inner();
        ready(parsed.map(|path| Self(path.into_inner())).map_err(|error| {
            Error::not_found("not_found", "There is nothing with such an id.")
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
        ready(parse(request.query_string()).map(Self))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T> {
    let parsed = web::Query::<Named<T>>::from_query(query);
    parsed.map(|query| query.into_inner().0).map_err(|error| {
        // Before the first colon stands only that a query could not be read.
        let text = error.to_string();
        let detail = text.split_once(": ").map_or(text.as_str(), |(_, detail)| detail);
        Error::new(
            Kind::InvalidInput,
            "invalid_query",
            format!("The query is not valid: {detail}."),
        )
    })
}

/// A value whose faults name the parameter that they are in.
struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(query: D) -> std::result::Result<Self, D::Error> {
        serde_path_to_error::deserialize(query).map(Self).map_err(|error| {
            let detail = in_words(&error.inner().to_string());
            // A fault of the names themselves tells which.
            let of_the_names = ["unknown field", "duplicate field", "missing field"];
            if of_the_names.iter().any(|fault| detail.starts_with(fault)) {
                return D::Error::custom(detail);
            }
            D::Error::custom(format_args!("{} {detail}", error.path()))
        })
    }
}

/// What the parsers of numbers say, in the words of whoever writes a query.
fn in_words(fault: &str) -> String {
    match fault {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number".to_owned()
        }
        "invalid float literal" | "cannot parse float from empty string" => {
            "must be a number".to_owned()
        }
        "number too large to fit in target type" => "is too great a number".to_owned(),
        "number too small to fit in target type" => "is too small a number".to_owned(),
        "provided string was not `true` or `false`" => "must be true or false".to_owned(),
        other => told(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Near {
        limit: Option<u32>,
        radius_m: Option<f64>,
        flagged: Option<bool>,
    }

    #[test]
    fn a_fault_in_a_query_names_its_parameter() {
        for (query, detail) in [
            ("limit=ten", "limit must be a whole number"),
            ("limit=", "limit must be a whole number"),
            ("limit=99999999999", "limit is too great a number"),
            ("limit=1&radius_m=far", "radius_m must be a number"),
            ("flagged=perhaps", "flagged must be true or false"),
            ("limit=1&limit=2", "duplicate field `limit`"),
            ("lmit=1", "unknown field `lmit`, expected one of `limit`, `radius_m`, `flagged`"),
        ] {
            let error = parse::<Near>(query).unwrap_err();
            let said = format!("The query is not valid: {detail}.");
            assert_eq!((error.code(), error.detail()), ("invalid_query", said.as_str()), "{query}");
        }
        let near: Near = parse("limit=5&radius_m=1.5&flagged=true").unwrap();
        assert_eq!((near.limit, near.flagged), (Some(5), Some(true)));
        assert!(near.radius_m.is_some_and(|radius| (radius - 1.5).abs() < 1e-9));
    }
}
