//! Ids in few bytes, compared and looked up without allocating.

use std::str;

/// The longest text that is kept in place.
const SHORT: usize = 22;
/// The longest text of an id in one of the packed forms.
pub(super) const TEXT: usize = 36;

/// An opaque id: nearly all are 32 hexadecimal digits or a UUID, some are short, few are neither. The
/// form follows from the text, so that equal texts are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Id<L> {
    /// 32 lower-case hexadecimal digits.
    Hex([u8; 16]),
    /// A lower-case UUID with hyphens.
    Uuid([u8; 16]),
    /// Any other text of up to [`SHORT`] bytes; the rest is zero.
    Short(u8, [u8; SHORT]),
    /// Any other.
    Long(L),
}

/// An id that is kept: 24 bytes.
pub(super) type CompactId = Id<Box<str>>;
/// An id that is looked for.
pub(super) type IdRef<'a> = Id<&'a str>;

impl<'a> IdRef<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        if let Ok(digits) = <&[u8; 32]>::try_from(bytes)
            && let Some(packed) = packed(digits)
        {
            return Self::Hex(packed);
        }
        if let Some(packed) = without_hyphens(bytes).as_ref().and_then(packed) {
            return Self::Uuid(packed);
        }
        let mut short = [0; SHORT];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Self::Short(length, short)
            }
            _ => Self::Long(text),
        }
    }

    pub(super) fn to_kept(self) -> CompactId {
        match self {
            Self::Hex(packed) => Id::Hex(packed),
            Self::Uuid(packed) => Id::Uuid(packed),
            Self::Short(length, bytes) => Id::Short(length, bytes),
            Self::Long(text) => Id::Long(text.into()),
        }
    }
}

impl CompactId {
    pub(super) fn to_ref(&self) -> IdRef<'_> {
        match self {
            Self::Hex(packed) => Id::Hex(*packed),
            Self::Uuid(packed) => Id::Uuid(*packed),
            Self::Short(length, bytes) => Id::Short(*length, *bytes),
            Self::Long(text) => Id::Long(text),
        }
    }

    /// The id's text; `buffer` is where it is written if it is not kept as such.
    pub(super) fn text<'b>(&'b self, buffer: &'b mut [u8; TEXT]) -> &'b str {
        let bytes: &[u8] = match self {
            Self::Hex(packed) => {
                let digits = unpacked(packed);
                copied(buffer, &digits)
            }
            Self::Uuid(packed) => hyphenated(buffer, &unpacked(packed)),
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => return text,
        };
        // Every form was made of a text.
        str::from_utf8(bytes).unwrap_or_default()
    }
}

fn packed(digits: &[u8; 32]) -> Option<[u8; 16]> {
    let mut packed = [0; 16];
    for (byte, pair) in packed.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(packed)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn unpacked(packed: &[u8; 16]) -> [u8; 32] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let of = |four: u8| DIGITS.get(usize::from(four)).copied().unwrap_or_default();
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(packed) {
        pair.copy_from_slice(&[of(byte >> 4), of(byte & 15)]);
    }
    digits
}

/// Where the five groups of a UUID are, with and without hyphens.
const GROUPS: [(usize, usize, usize); 5] =
    [(0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)];

fn without_hyphens(text: &[u8]) -> Option<[u8; 32]> {
    let has_hyphens =
        text.len() == TEXT && [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !has_hyphens {
        return None;
    }
    let mut digits = [0; 32];
    for (from, to, length) in GROUPS {
        digits.get_mut(to..to + length)?.copy_from_slice(text.get(from..from + length)?);
    }
    Some(digits)
}

fn hyphenated<'b>(buffer: &'b mut [u8; TEXT], digits: &[u8; 32]) -> &'b [u8] {
    *buffer = [b'-'; TEXT];
    for (to, from, length) in GROUPS {
        if let (Some(place), Some(group)) =
            (buffer.get_mut(to..to + length), digits.get(from..from + length))
        {
            place.copy_from_slice(group);
        }
    }
    buffer
}

fn copied<'b>(buffer: &'b mut [u8; TEXT], digits: &[u8; 32]) -> &'b [u8] {
    match buffer.first_chunk_mut::<32>() {
        Some(place) => {
            *place = *digits;
            place
        }
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_takes_24_bytes() {
        assert_eq!(size_of::<CompactId>(), 24);
        assert_eq!(size_of::<Option<CompactId>>(), 24);
    }

    #[test]
    fn the_usual_forms_are_packed() {
        let is_hex = |text| matches!(IdRef::new(text), Id::Hex(_));
        let is_uuid = |text| matches!(IdRef::new(text), Id::Uuid(_));
        assert!(is_hex("0123456789abcdef0123456789abcdef"));
        assert!(!is_hex("0123456789ABCDEF0123456789abcdef"));
        assert!(is_uuid("01234567-89ab-cdef-0123-456789abcdef"));
        assert!(!is_uuid("01234567-89ab-cdef-0123-456789abcdeF"));
        assert!(!is_uuid("01234567-89ab-cdef-0123-456789abcde-"));
        assert!(matches!(IdRef::new("driver-1"), Id::Short(8, _)));
        assert!(matches!(IdRef::new("0123456789abcdef0123456"), Id::Long(_)));
    }

    proptest! {
        #[test]
        fn every_id_is_read_back(text in "[!-~]{1,64}|[0-9a-f]{32}|[0-9A-F]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f-]{32,36}|я{1,20}") {
            let kept = IdRef::new(&text).to_kept();
            let mut buffer = [0; TEXT];
            prop_assert_eq!(kept.text(&mut buffer), &text);
            prop_assert_eq!(kept.to_ref(), IdRef::new(&text));
        }
    }
}
