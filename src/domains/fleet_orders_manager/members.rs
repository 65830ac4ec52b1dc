//! A JSON object whose members are passed on as they were written.

use std::borrow::Cow;
use std::fmt;

use actix_web::web::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::platform::error::{Error, FieldError, Result};

/// The members of an object, in their order; no name stands twice.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// What this server says of an order itself. A caller's own word on it would be overruled, so it is
/// refused instead.
pub(super) const OF_ORDERS: &[&str] = &[
    "park_id",
    "personal_phone_id",
    "dispatcher_id",
    "dispatch_mode",
    "locale",
    "currency",
    "time_zone",
    "source",
];
/// The same of a search for orders.
pub(super) const OF_SEARCHES: &[&str] = &["park_id", "personal_phone_id", "states"];

impl<'a> Members<'a> {
    /// Reads a body that is known to be an object. `ours` is what this server says itself.
    ///
    /// # Errors
    /// `invalid_request` where a name stands twice, or among `ours`.
    pub fn read(body: &'a [u8], ours: &[&str]) -> Result<Self> {
        let members: Self =
            serde_json::from_slice(body).map_err(|error| Error::invalid("", told(&error)))?;
        let stands = |name: &&&str| members.0.iter().any(|(known, _)| known == *name);
        let faults: Vec<FieldError> = ours
            .iter()
            .filter(stands)
            .map(|name| FieldError {
                pointer: format!("/{name}"),
                detail: "is set by the server; leave it out".to_owned(),
            })
            .collect();
        if faults.is_empty() { Ok(members) } else { Err(Error::invalid_fields(faults)) }
    }

    /// The object without the members named in `without`, and with those of `added`.
    ///
    /// # Errors
    /// Never: what was read can be written.
    pub fn body(
        &self,
        without: &[&str],
        added: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Bytes> {
        let kept = self.0.iter().filter(|(name, _)| !without.contains(&name.as_ref()));
        let body = Enriched { added, kept: kept.collect() };
        serde_json::to_vec(&body).map(Bytes::from).map_err(Error::internal)
    }
}

/// The message without what the caller wrote.
fn told(error: &serde_json::Error) -> &'static str {
    if error.to_string().starts_with(TWICE) { TWICE } else { "is not an object" }
}

const TWICE: &str = "a member stands twice";

struct Enriched<'a> {
    added: &'a serde_json::Map<String, serde_json::Value>,
    kept: Vec<&'a (Cow<'a, str>, &'a RawValue)>,
}

impl Serialize for Enriched<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.added.len() + self.kept.len()))?;
        for (name, value) in self.added {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in &self.kept {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Self::Value::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if !names.insert(name.0.clone()) {
                        return Err(serde::de::Error::custom(TWICE));
                    }
                    members.push((name.0, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Self)
    }
}

/// A member's name, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_texts_stay_as_they_were_written() {
        let text = r#"{"phone":"+7","a":1.10,"b":12345678901234567890123,"c":{"d":[1e400, 0.1]},"\u0065":"\u00e9"}"#;
        let added = json!({ "park_id": "p" });
        let body = Members::read(text.as_bytes(), OF_ORDERS).unwrap();
        let body = body.body(&["phone"], added.as_object().unwrap()).unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"park_id":"p","a":1.10,"b":12345678901234567890123,"c":{"d":[1e400, 0.1]},"e":"\u00e9"}"#
        );
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_spelt() {
        for text in [r#"{"phone":1,"phone":2}"#, r#"{"phone":1,"\u0070hone":2}"#] {
            let error = Members::read(text.as_bytes(), OF_ORDERS).err().unwrap();
            assert_eq!(error.fields()[0].detail, TWICE);
        }
    }

    #[test]
    fn what_the_server_says_itself_is_refused() {
        let error = Members::read(br#"{"park_id":"other","note":"x","source":"y"}"#, OF_ORDERS)
            .err()
            .unwrap();
        let pointers: Vec<_> = error.fields().iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/park_id", "/source"]);
    }
}
