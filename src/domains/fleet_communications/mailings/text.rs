//! Messages with placeholders for what `parks` tells of a driver.

/// Longest message, in characters, placeholders filled in.
pub(super) const MAX_MESSAGE: usize = 4_096;
/// What is put in for a placeholder is cut to so many characters.
const MAX_NAME: usize = 64;
const FIRST_NAME: &str = "first_name";

/// A message, taken apart.
pub(super) struct Message<'a>(Vec<Part<'a>>);

enum Part<'a> {
    Text(&'a str),
    FirstName,
}

/// A message that cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMessage {
    #[error("must have 1 to 4096 characters, and something else than white space and names")]
    Length,
    #[error(
        "may hold a driver's name, so with its placeholders it must leave room for 64 characters each"
    )]
    LengthWithNames,
    #[error("must not hold U+0000")]
    Nul,
    #[error("knows no placeholder but {{first_name}}")]
    Placeholder,
}

impl<'a> Message<'a> {
    /// Takes a message apart: `{first_name}` is the driver's name, any other word in braces is a
    /// mistake, and braces around anything else are text.
    pub fn parse(text: &'a str) -> Result<Self, BadMessage> {
        let length = text.chars().count();
        if text.trim().is_empty() || length > MAX_MESSAGE {
            return Err(BadMessage::Length);
        }
        if text.contains('\0') {
            return Err(BadMessage::Nul);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_placeholder(rest) {
            if name != FIRST_NAME {
                return Err(BadMessage::Placeholder);
            }
            parts.extend([Part::Text(before), Part::FirstName]);
            rest = after;
        }
        parts.push(Part::Text(rest));
        let message = Self(parts);
        let names = message.0.iter().filter(|part| matches!(part, Part::FirstName)).count();
        if length + names * MAX_NAME > MAX_MESSAGE && names > 0 {
            return Err(BadMessage::LengthWithNames);
        }
        // Not every driver has a name, and nobody can be shown nothing.
        if message.for_driver("").trim().is_empty() {
            return Err(BadMessage::Length);
        }
        Ok(message)
    }

    /// Whether every driver has a text of his own.
    pub fn is_personal(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::FirstName))
    }

    /// The text for a driver of this name.
    pub fn for_driver(&self, first_name: &str) -> String {
        let name: String = first_name.chars().filter(|c| *c != '\0').take(MAX_NAME).collect();
        let part = |part: &Part<'a>| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::FirstName => name.clone(),
        };
        self.0.iter().map(part).collect()
    }
}

/// The text before the first placeholder, its name, and the text behind it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let is_word = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    for (open, _) in text.match_indices('{') {
        let (before, inside) = (text.get(..open)?, text.get(open + 1..)?);
        let (name, after) = inside.split_once('}')?;
        if is_word(name) {
            return Some((before, name, after));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str, name: &str) -> Result<String, BadMessage> {
        Message::parse(text).map(|message| message.for_driver(name))
    }

    #[test]
    fn names_are_put_in_and_other_braces_stay() {
        assert_eq!(told("Hi {first_name}, {first_name}!", "Ann").unwrap(), "Hi Ann, Ann!");
        for text in ["{}", "{ first_name }", "a { b", "}{", "{{first name}}", "{имя}"] {
            assert_eq!(told(text, "Ann").unwrap(), text);
        }
        assert_eq!(told("{{first_name}}", "Ann").unwrap(), "{Ann}");
        assert!(!Message::parse("{} for all").unwrap().is_personal());
        assert!(Message::parse("{first_name}!").unwrap().is_personal());
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        for (text, why) in [
            ("", BadMessage::Length),
            (" \n", BadMessage::Length),
            ("{first_name} {first_name}", BadMessage::Length),
            ("a\0", BadMessage::Nul),
            ("Hi {last_name}", BadMessage::Placeholder),
            ("Hi {FIRST_NAME}", BadMessage::Placeholder),
        ] {
            assert_eq!(told(text, "").unwrap_err(), why, "{text:?}");
        }
        assert!(told(&"я".repeat(MAX_MESSAGE), "").is_ok());
        assert_eq!(told(&"я".repeat(MAX_MESSAGE + 1), "").unwrap_err(), BadMessage::Length);
        let long = format!("{{first_name}}{}", "я".repeat(MAX_MESSAGE - 20));
        assert_eq!(told(&long, "").unwrap_err(), BadMessage::LengthWithNames);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_never_too_long(text in ".{0,200}(\\{first_name\\}.{0,2000}){0,3}", name in ".{0,200}") {
            if let Ok(told) = told(&text, &name) {
                prop_assert!(told.chars().count() <= MAX_MESSAGE);
                prop_assert!(!told.contains('\0'));
                prop_assert!(!told.trim().is_empty());
            }
        }
    }
}
