//! JSON objects that are objects: serde reads a struct from an array of its fields too, which no
//! schema of ours allows.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// For `#[serde(deserialize_with)]` of a member that is a struct.
///
/// # Errors
/// What is not an object, and what the struct does not take.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(Only(PhantomData))
}

/// The same for a member that may be absent or null.
///
/// # Errors
/// As [`object`].
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Object<T>(T);

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            object(deserializer).map(Self)
        }
    }

    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|object| object.0))
}

struct Only<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Point {
        lat: f64,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Place {
        #[serde(deserialize_with = "object")]
        point: Point,
        #[serde(default, deserialize_with = "optional_object")]
        other: Option<Point>,
    }

    #[test]
    fn an_array_is_no_object() {
        let place = |text: &str| serde_json::from_str::<Place>(text);
        let point = || Point { lat: 1.5 };
        let read = place(r#"{"point":{"lat":1.5},"other":{"lat":1.5}}"#).unwrap();
        assert_eq!(read, Place { point: point(), other: Some(point()) });
        assert_eq!(place(r#"{"point":{"lat":1.5},"other":null}"#).unwrap().other, None);
        for text in [r#"{"point":[1.5]}"#, r#"{"point":{"lat":1},"other":[1.5]}"#, r#"{"point":1}"#]
        {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
