//! Runs the rules that a value declares.

use super::error::{Error, FieldError, Result};

/// Runs a value's own rules and addresses each fault.
///
/// # Errors
/// `invalid_request` with every fault.
pub fn validate<T: garde::Validate<Context = ()>>(value: &T) -> Result<()> {
    let Err(report) = value.validate() else { return Ok(()) };
    let fields = report
        .iter()
        .map(|(path, error)| FieldError {
            pointer: pointer_of_rule(&path.to_string()),
            detail: error.message().to_owned(),
        })
        .collect();
    Err(Error::invalid_fields(fields))
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
