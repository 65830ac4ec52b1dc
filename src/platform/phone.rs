//! Phone numbers as people type them, in E.164.

use phonenumber::{Mode, country};
use secrecy::{ExposeSecret, SecretString};

/// Longest text that is looked at, in bytes: E.164 has 15 digits, people add punctuation.
const MAX_LENGTH: usize = 40;

/// The digits of a number in E.164, at most.
const MOST_DIGITS: usize = 15;

/// A text that is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a phone number; write it with its country code, as in +7 999 123-45-67")]
pub struct InvalidPhone;

/// Brings a number into E.164, for example `+79991234567`. `region` (ISO 3166-1 alpha-2) is where
/// numbers without a country code are from.
///
/// # Errors
/// It is not a number that can exist.
pub fn to_e164(text: &str, region: Option<country::Id>) -> Result<SecretString, InvalidPhone> {
    let text = text.trim();
    let typed = |b: u8| b.is_ascii_digit() || b" +-().".contains(&b);
    if text.len() > MAX_LENGTH || !text.bytes().all(typed) {
        return Err(InvalidPhone);
    }
    let number = canonical(text, region)?;
    // What was typed without its country may have been taken for a number that does not exist.
    if !is_same_number(text, &number) && canonical(&number, None)? != number {
        return Err(InvalidPhone);
    }
    Ok(number.into())
}

fn canonical(text: &str, region: Option<country::Id>) -> Result<String, InvalidPhone> {
    let number = phonenumber::parse(region, text).map_err(|_| InvalidPhone)?;
    if !phonenumber::is_valid(&number) {
        return Err(InvalidPhone);
    }
    let number = number.format().mode(Mode::E164).to_string();
    // Some countries' rules let numbers through that are longer than E.164 has them.
    if number.len() > 1 + MOST_DIGITS { Err(InvalidPhone) } else { Ok(number) }
}

/// Whether a text is that number in E.164 but for punctuation.
fn is_same_number(text: &str, number: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    text.starts_with('+') && digits.eq(number.bytes().skip(1))
}

/// Where numbers without a country code are from; the empty text is nowhere.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Region(Option<country::Id>);

impl TryFrom<String> for Region {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let known =
            text.parse().map_err(|_| "must be a country's two letters, such as RU, or empty");
        known.map(|id| Self(Some(id)))
    }
}

impl Region {
    /// Brings a number that was typed in this region into E.164.
    ///
    /// # Errors
    /// It is not a number that can exist.
    pub fn to_e164(self, text: &str) -> Result<SecretString, InvalidPhone> {
        to_e164(text, self.0)
    }
}

/// Compiles the patterns, which takes a tenth of a second: called at start, off the workers, so
/// that the first caller does not wait.
pub fn warm_up() {
    let warmed = to_e164("+79991234567", None);
    debug_assert!(warmed.is_ok_and(|phone| phone.expose_secret() == "+79991234567"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn e164(text: &str) -> Option<String> {
        to_e164(text, Some(country::RU)).ok().map(|phone| phone.expose_secret().to_owned())
    }

    #[test]
    fn spellings_of_one_number_become_one() {
        for text in ["+7 999 123-45-67", "8 (999) 123-45-67", "9991234567", " +79991234567 "] {
            assert_eq!(e164(text).as_deref(), Some("+79991234567"), "{text}");
        }
        assert_eq!(e164("+49 30 123456").as_deref(), Some("+4930123456"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "123",
            "+7 999",
            "call me",
            "+7 999 123-45-67 ext 5",
            "+700000000000000000",
            "8882153......71415",
        ] {
            assert_eq!(e164(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(digits in "9[0-9]{9}") {
            if let Some(once) = e164(&digits) {
                prop_assert_eq!(e164(&once), Some(once.clone()));
                prop_assert!(once.starts_with('+') && once.len() <= 16);
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,60}") {
            let _ = e164(&text);
        }
    }
}
