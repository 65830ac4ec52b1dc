//! What reads bytes from outside, each as a function that takes any bytes and panics where a promise is
//! broken. `fuzz/` looks for such bytes, guided by what they reach (`make fuzz`); the tests below try some
//! at random and what was found before. What is promised stands beside each reader.

use secrecy::ExposeSecret as _;

use crate::domains::{
    deptrans_driver_status_integration as deptrans, fleet_customers, scooter_accumulator,
};
use crate::platform::{http, mqtt, phone};

/// A reader: its name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. Examples of what each reads are in `fuzz/seeds/NAME`.
pub const TARGETS: [Target; 9] = [
    ("kafka-event", deptrans::fuzz_event),
    ("cabinet-event", scooter_accumulator::fuzz_event),
    ("mqtt-packets", mqtt::wire::fuzz),
    ("list-cursor", |bytes| text(bytes, http::fuzzing::cursor)),
    ("updates-cursor", |bytes| text(bytes, deptrans::fuzz_cursor)),
    ("headers", http::fuzzing::headers),
    ("body", http::fuzzing::body),
    ("options-patch", fleet_customers::fuzz_patch),
    ("phone", |bytes| text(bytes, phone_number)),
];

/// Runs the reader `name` over the bytes.
///
/// # Panics
/// When a promise is broken, and when there is no such reader.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(found.is_some(), "no reader {name}");
    if let Some((_, read)) = found {
        read(bytes);
    }
}

fn text(bytes: &[u8], read: fn(&str)) {
    if let Ok(text) = str::from_utf8(bytes) {
        read(text);
    }
}

/// A number in E.164 is its own E.164.
fn phone_number(text: &str) {
    for region in [phone::Region::default(), russia()] {
        let Ok(number) = region.to_e164(text) else { continue };
        let number = number.expose_secret();
        let digits = number.strip_prefix('+').unwrap_or_default();
        assert!((1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
        let again = phone::Region::default().to_e164(number);
        assert!(again.is_ok_and(|again| again.expose_secret() == number));
    }
}

fn russia() -> phone::Region {
    phone::Region::try_from("RU".to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let files = std::fs::read_dir(folder).expect("there are examples of each");
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// A part of an example, in the place of a part of another.
    fn spliced(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let seed = proptest::sample::select(seeds);
        let edit = (any::<prop::sample::Index>(), 0..8_usize, vec(any::<u8>(), 0..8));
        (seed, vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
            for (at, taken, put) in edits {
                let from = at.index(bytes.len() + 1);
                let to = (from + taken).min(bytes.len());
                bytes.splice(from..to, put);
            }
            bytes
        })
    }

    #[test]
    fn examples_are_read() {
        for (name, _) in TARGETS {
            for seed in seeds(name) {
                run(name, &seed);
            }
        }
    }

    #[test]
    fn no_bytes_break_a_promise() {
        for (name, _) in TARGETS {
            let bytes = prop_oneof![vec(any::<u8>(), 0..200), spliced(seeds(name))];
            let mut runner = TestRunner::new(ProptestConfig::with_cases(500));
            let read = |bytes: Vec<u8>| {
                run(name, &bytes);
                Ok(())
            };
            runner.run(&bytes, read).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
