//! Opaque ids in few bytes.
//!
//! Ids from outside are opaque text, but nearly all of them are 32 hexadecimal digits or a UUID.
//! With millions of rows and two or three such ids in a row and in its key, storing them as 16
//! bytes and a tag halves tables and indices (`docs/decisions/five-million-customers.md`). Whatever has
//! another form is stored as its own text. The coding is reversible and injective: equality and
//! uniqueness in SQL are those of the ids. `fleet_platform.readable_id(bytea)` shows one as text.

use std::borrow::Cow;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use uuid::Uuid;

/// First byte of 32 lower-case hexadecimal digits.
const HEX: u8 = 1;
/// First byte of a lower-case UUID with hyphens.
const HYPHENATED: u8 = 2;

/// An opaque id as a column stores it (`bytea`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub struct PackedId(Vec<u8>);

impl PackedId {
    /// Packs a text. Texts of our ids begin with a printable character, never with a tag.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let tagged = |tag: u8, uuid: Uuid| {
            let mut bytes = Vec::with_capacity(17);
            bytes.push(tag);
            bytes.extend_from_slice(uuid.as_bytes());
            Self(bytes)
        };
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        match (text.len(), Uuid::try_parse(text)) {
            (32, Ok(uuid)) if text.bytes().all(lower_hex) => tagged(HEX, uuid),
            (36, Ok(uuid)) if text.bytes().all(lower_hex) => tagged(HYPHENATED, uuid),
            _ => Self(text.as_bytes().to_vec()),
        }
    }

    /// The text that was packed.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
        match self.0.split_first() {
            Some((&HEX, rest)) => uuid(rest).map(|uuid| Cow::Owned(uuid.simple().to_string())),
            Some((&HYPHENATED, rest)) => {
                uuid(rest).map(|uuid| Cow::Owned(uuid.hyphenated().to_string()))
            }
            _ => None,
        }
        .unwrap_or_else(|| String::from_utf8_lossy(&self.0))
    }
}

impl ToSql<Binary, Pg> for PackedId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <[u8] as ToSql<Binary, Pg>>::to_sql(&self.0, out)
    }
}

impl FromSql<Binary, Pg> for PackedId {
    fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(bytes.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_ids_take_17_bytes() {
        assert_eq!(PackedId::new("0123456789abcdef0123456789abcdef").0.len(), 17);
        assert_eq!(PackedId::new("01234567-89ab-cdef-0123-456789abcdef").0.len(), 17);
        assert_eq!(PackedId::new("park-1").0, b"park-1");
    }

    proptest! {
        #[test]
        fn every_id_is_read_back(text in "[!-~]{1,64}|[0-9a-f]{32}|[0-9A-F]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f-]{32,36}") {
            let packed = PackedId::new(&text);
            prop_assert_eq!(packed.text(), text);
        }
    }
}
