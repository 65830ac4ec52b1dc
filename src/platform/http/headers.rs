//! Headers that may come once only.

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::platform::error::{Error, Kind, Result};

/// The header's value. Sent twice, there is no telling which of the two a proxy before us has
/// checked, so neither is taken.
///
/// # Errors
/// `repeated_header`.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Error::new(
            Kind::InvalidInput,
            "repeated_header",
            format!("The header {name} may be sent only once."),
        )),
        (value, None) => Ok(value),
    }
}
