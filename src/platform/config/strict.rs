//! Values as they stand: a file has numbers, flags and texts, and none is taken for another.
//!
//! The library's own reading makes 2 of `1.5` and 1 of `true`. Variables of the environment are text,
//! whatever is meant; only they are parsed.

use std::fmt::Display;

use config::{Value, ValueKind};
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error, Expected, IntoDeserializer, Unexpected, Visitor};

use crate::platform::validation::{self, without_value};

/// What the library calls the origin of a variable's value.
const ENVIRONMENT: &str = "the environment";

/// A value that is read by its own kind.
pub(super) struct Strict(pub Value);

/// Why a section cannot be read. What was found is told by its sort only: it may be a secret in a
/// wrong place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misfit {
    /// A key that the section does not have.
    #[error("unknown key")]
    UnknownKey { key: String, known: &'static [&'static str] },
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value that cannot stand where it does.
    #[error("{0}")]
    Value(String),
}

impl Misfit {
    fn found(expected: &dyn Expected, found: &str) -> Self {
        Self::Value(format!("must be {}; found {found}", in_words(&expected.to_string())))
    }

    fn none_of(names: &[&str], found: &str) -> Self {
        Self::Value(format!("must be one of {}; found {found}", names.join(", ")))
    }
}

impl Error for Misfit {
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(without_value(&message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::found(expected, sort(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(0..) | Unexpected::Unsigned(_) => {
                "a number that is not in this range"
            }
            other => sort(other),
        };
        Self::found(expected, found)
    }

    fn unknown_variant(_: &str, names: &'static [&'static str]) -> Self {
        Self::none_of(names, "another text")
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: key.to_owned(), known }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

/// The sort of a value, without the value.
fn sort(value: Unexpected<'_>) -> &'static str {
    match value {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Signed(..0) => "a negative number",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "a whole number",
        Unexpected::Float(_) => "a number with a decimal point",
        Unexpected::Str(_) | Unexpected::Char(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

/// What serde expects, in an operator's words.
fn in_words(expected: &str) -> String {
    match expected {
        "a string" | "path string" => "a text".to_owned(),
        other => validation::in_words(other, "a table"),
    }
}

/// A text of the environment as a whole number.
fn whole(text: &str) -> Option<ValueKind> {
    let signed = text.parse().map(ValueKind::I64);
    signed.or_else(|_| text.parse().map(ValueKind::U64)).ok()
}

fn number(text: &str) -> Option<ValueKind> {
    text.parse().map(ValueKind::Float).ok()
}

fn flag(text: &str) -> Option<ValueKind> {
    match text.to_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Some(ValueKind::Boolean(true)),
        "0" | "false" | "off" | "no" => Some(ValueKind::Boolean(false)),
        _ => None,
    }
}

impl Strict {
    /// Reads the value as it is; one of the environment as what `parse` makes of it.
    fn read<'de, V: Visitor<'de>>(
        mut self,
        parse: fn(&str) -> Option<ValueKind>,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let is_variable = self.0.origin() == Some(ENVIRONMENT);
        if let (true, ValueKind::String(text)) = (is_variable, &self.0.kind) {
            self.0.kind = parse(text).ok_or_else(|| Misfit::found(&visitor, "another text"))?;
        }
        self.deserialize_any(visitor)
    }
}

/// Methods that read by the value's kind, with texts of the environment parsed by `$parse`.
macro_rules! parsed {
    ($($method:ident: $parse:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.read($parse, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(value),
            ValueKind::I64(value) => visitor.visit_i64(value),
            ValueKind::I128(value) => visitor.visit_i128(value),
            ValueKind::U64(value) => visitor.visit_u64(value),
            ValueKind::U128(value) => visitor.visit_u128(value),
            ValueKind::Float(value) => visitor.visit_f64(value),
            ValueKind::String(value) => visitor.visit_string(value),
            ValueKind::Array(items) => {
                SeqDeserializer::new(items.into_iter().map(Strict)).deserialize_any(visitor)
            }
            ValueKind::Table(table) => {
                let entries = table.into_iter().map(|(key, value)| (key, Strict(value)));
                MapDeserializer::new(entries).deserialize_any(visitor)
            }
        }
    }

    parsed! {
        deserialize_bool: flag,
        deserialize_u8: whole, deserialize_u16: whole, deserialize_u32: whole, deserialize_u64: whole,
        deserialize_i8: whole, deserialize_i16: whole, deserialize_i32: whole, deserialize_i64: whole,
        deserialize_f32: number, deserialize_f64: number,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// By one of its names; none of ours holds more than that.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0.kind {
            ValueKind::String(name) => visitor.visit_enum(name.into_deserializer()),
            _ => Err(Misfit::none_of(names, "what is no text")),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string seq bytes byte_buf map struct unit identifier ignored_any
        unit_struct tuple_struct tuple
    }
}

impl IntoDeserializer<'_, Misfit> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};
    use serde::Deserialize;

    use super::super::source::variables;
    use super::super::{ConfigSource, Faults, Section};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Sort {
        Plain,
        NotPlain,
    }

    /// A section with every sort of value.
    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        count: u64,
        port: u16,
        shift: i32,
        share: f64,
        on: bool,
        name: String,
        token: SecretString,
        limit: Option<usize>,
        list: Vec<u8>,
        sort: Sort,
        inner: Inner,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        count: i64,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                count: 7,
                port: 7,
                shift: 7,
                share: 0.7,
                on: false,
                name: "seven".to_owned(),
                token: "seven".into(),
                limit: None,
                list: vec![7],
                sort: Sort::Plain,
                inner: Inner::default(),
            }
        }
    }

    impl Section for Sample {
        fn check(&self, _: &mut Faults) {}
    }

    /// What is read of these lines, with these variables over them; or all that is wrong.
    fn read(lines: &str, environment: &[(&str, &str)]) -> Result<Sample, Vec<String>> {
        let given = environment
            .iter()
            .map(|(name, value)| (format!("FLEET__SAMPLE__{name}"), (*value).to_owned()));
        let variables = variables().source(Some(given.collect()));
        let source = ConfigSource::texts(vec![format!("[sample]\n{lines}")]);
        let config = source.load_with(Some(variables)).unwrap();
        let told = |faults: Vec<super::super::Fault>| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        config.section("sample").map_err(told)
    }

    /// The one thing that is wrong with a line of a file.
    #[track_caller]
    fn wrong(line: &str) -> String {
        let mut faults = read(line, &[]).expect_err(line);
        assert_eq!(faults.len(), 1, "{line}: {faults:?}");
        faults.remove(0)
    }

    #[test]
    fn a_file_says_each_value_in_its_own_kind() {
        let lines = "count = 1\nport = 65535\nshift = -2\nshare = 0.5\non = true\nname = '4'\n\
             token = '5'\nlimit = 6\nlist = [1, 255]\nsort = 'not_plain'\ninner.count = -7\n";
        let sample = read(lines, &[]).unwrap();
        assert_eq!((sample.count, sample.port, sample.shift), (1, 65535, -2));
        assert!(sample.on && (sample.share - 0.5).abs() < 1e-9);
        assert_eq!((sample.name.as_str(), sample.token.expose_secret()), ("4", "5"));
        assert_eq!((sample.limit, sample.list), (Some(6), vec![1, 255]));
        assert!(matches!(sample.sort, Sort::NotPlain));
        assert_eq!(sample.inner.count, -7);
        // A share of one is a number, with or without its point.
        assert!((read("share = 1", &[]).unwrap().share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn another_kind_is_told_with_the_key_what_it_must_be_and_what_it_is() {
        let natural = "must be a whole number that is not negative; found";
        for (line, said) in [
            ("count = 1.5", format!("sample.count: {natural} a number with a decimal point")),
            ("count = 2.0", format!("sample.count: {natural} a number with a decimal point")),
            ("count = true", format!("sample.count: {natural} true or false")),
            ("count = '4'", format!("sample.count: {natural} a text")),
            ("count = -1", format!("sample.count: {natural} a negative number")),
            ("count = [1]", format!("sample.count: {natural} a list")),
            ("limit = false", format!("sample.limit: {natural} true or false")),
            ("on = 1", "sample.on: must be true or false; found a whole number".into()),
            ("on = 'true'", "sample.on: must be true or false; found a text".into()),
            ("share = '0.5'", "sample.share: must be a number; found a text".into()),
            ("share = true", "sample.share: must be a number; found true or false".into()),
            ("name = 4", "sample.name: must be a text; found a whole number".into()),
            ("name = true", "sample.name: must be a text; found true or false".into()),
            (
                "token = 4.5",
                "sample.token: must be a text; found a number with a decimal point".into(),
            ),
            ("list = 1", "sample.list: must be a list; found a whole number".into()),
            ("inner = 1", "sample.inner: must be a table; found a whole number".into()),
            (
                "inner.count = 1.5",
                "sample.inner.count: must be a whole number; found a number with a decimal point"
                    .into(),
            ),
            (
                "sort = 'round'",
                "sample.sort: must be one of plain, not_plain; found another text".into(),
            ),
            (
                "sort = 1",
                "sample.sort: must be one of plain, not_plain; found what is no text".into(),
            ),
        ] {
            assert_eq!(wrong(line), said, "{line}");
        }
    }

    #[test]
    fn a_number_that_its_key_does_not_hold_is_told_with_the_range() {
        let beyond = "found a number that is not in this range";
        let port = "sample.port: must be a whole number between 0 and 65535";
        assert_eq!(wrong("port = 65536"), format!("{port}; {beyond}"));
        assert_eq!(wrong("port = -1"), format!("{port}; found a negative number"));
        let shift = "sample.shift: must be a whole number between -2147483648 and 2147483647";
        assert_eq!(wrong("shift = 3000000000"), format!("{shift}; {beyond}"));
        let item = "sample.list[1]: must be a whole number between 0 and 255";
        assert_eq!(wrong("list = [1, 256]"), format!("{item}; {beyond}"));
    }

    #[test]
    fn an_unknown_key_is_refused_and_all_that_is_wrong_is_told_at_once() {
        assert_eq!(wrong("cuont = 1"), "sample.cuont: unknown key; did you mean `count`?");
        let inner = "sample.inner.conut: unknown key; did you mean `count`?";
        assert_eq!(wrong("inner.conut = 1"), inner);
        let faults = read("cuont = 1\ncount = 1.5\non = 1\nport = true\n", &[]).unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn variables_are_parsed_into_what_their_keys_hold() {
        let lines = "count = 1\non = true\n";
        let variables = [
            ("COUNT", "18446744073709551615"),
            ("SHIFT", "-3"),
            ("SHARE", "1"),
            ("ON", "off"),
            ("NAME", "true"),
            ("TOKEN", "1.5"),
            ("LIMIT", "5"),
            ("SORT", "not_plain"),
            ("INNER__COUNT", "6"),
        ];
        let sample = read(lines, &variables).unwrap();
        assert_eq!((sample.count, sample.shift, sample.inner.count), (u64::MAX, -3, 6));
        assert!(!sample.on && (sample.share - 1.0).abs() < 1e-9);
        assert_eq!((sample.name.as_str(), sample.token.expose_secret()), ("true", "1.5"));
        assert_eq!(sample.limit, Some(5));
        assert!(matches!(sample.sort, Sort::NotPlain));
        for flag in ["1", "true", "TRUE", "on", "yes"] {
            assert!(read("", &[("ON", flag)]).unwrap().on, "{flag}");
        }
        // What a variable says is right is not held against what the file says.
        assert_eq!(read("count = 1.5", &[("COUNT", "4")]).unwrap().count, 4);
    }

    #[test]
    fn variables_that_are_no_such_thing_are_refused_without_being_shown() {
        for (name, value) in [
            ("COUNT", "1.5"),
            ("COUNT", "true"),
            ("COUNT", "-1"),
            ("COUNT", "18446744073709551616"),
            ("COUNT", ""),
            ("COUNT", "hunter2"),
            ("PORT", "65536"),
            ("SHARE", "yes"),
            ("ON", "2"),
            ("SORT", "hunter2"),
            ("LIST", "1,2"),
            ("INNER", "hunter2"),
        ] {
            let faults = read("", &[(name, value)]).unwrap_err();
            let [fault] = &faults[..] else { panic!("{name}={value}: {faults:?}") };
            let key = format!("sample.{}: must be ", name.to_lowercase());
            assert!(fault.starts_with(&key), "{name}={value}: {fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_secret_in_a_wrong_place_is_never_shown() {
        for line in
            ["count = 'hunter2'", "sort = 'hunter2'", "token = ['hunter2']", "inner = 'hunter2'"]
        {
            assert!(!wrong(line).contains("hunter2"), "{line}");
        }
        assert!(!wrong("token = 123456789").contains("123456789"));
    }
}
