//! Runs the rules that a value declares.

use super::error::{Error, FieldError, Result};

/// Runs a value's own rules and addresses each fault.
///
/// # Errors
/// `invalid_request` with every fault.
pub fn validate<T: garde::Validate<Context = ()>>(value: &T) -> Result<()> {
    validate_at("", value)
}

/// The same for a value that stands at `pointer` in the caller's document.
///
/// # Errors
/// `invalid_request` with every fault.
pub fn validate_at<T: garde::Validate<Context = ()>>(pointer: &str, value: &T) -> Result<()> {
    let Err(report) = value.validate() else { return Ok(()) };
    let field = |(path, error): &(garde::Path, garde::Error)| FieldError {
        pointer: format!("{pointer}{}", pointer_of_rule(&path.to_string())),
        detail: error.message().to_owned(),
    };
    Err(Error::invalid_fields(report.iter().map(field).collect()))
}

/// A garde path, `points[2].lat`, as a JSON pointer, `/points/2/lat`.
fn pointer_of_rule(path: &str) -> String {
    let mut pointer = String::new();
    for key in path.split(['.', '[', ']']).filter(|key| !key.is_empty()) {
        push_key(&mut pointer, key);
    }
    pointer
}

/// Adds a member's name to a JSON pointer (RFC 6901).
pub(super) fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// serde's message without the value that it repeats, which may be a secret or personal.
#[must_use]
pub fn without_value(message: &str) -> String {
    for kind in ["invalid type", "invalid value"] {
        let expected = message
            .strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix(": ")?.rsplit_once(", expected "));
        if let Some((_, expected)) = expected {
            return format!("{kind}, expected {expected}");
        }
    }
    message.to_owned()
}
