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

/// serde's message for callers: what must be there, in their words and not in our code's.
#[must_use]
pub fn told(message: &str) -> String {
    let message = without_value(message);
    let expected = ["invalid type, expected ", "invalid value, expected "]
        .iter()
        .find_map(|fault| message.strip_prefix(fault));
    match expected {
        Some(expected) => format!("must be {}", in_words(expected, "an object")),
        None => message,
    }
}

/// What serde expects, in the words of whoever writes it. `structure`: what he calls a value that has fields.
pub(super) fn in_words(expected: &str, structure: &str) -> String {
    let between = |least: i64, most: i64| format!("a whole number between {least} and {most}");
    match expected {
        "u8" => between(0, u8::MAX.into()),
        "u16" => between(0, u16::MAX.into()),
        "u32" => between(0, u32::MAX.into()),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "i8" => between(i8::MIN.into(), i8::MAX.into()),
        "i16" => between(i16::MIN.into(), i16::MAX.into()),
        "i32" => between(i32::MIN.into(), i32::MAX.into()),
        "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => structure.to_owned(),
        other if other.starts_with("struct ") => structure.to_owned(),
        other => other.to_owned(),
    }
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
