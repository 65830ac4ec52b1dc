//! Gives bytes to the reader that `FLEET_FUZZ_READER` names (src/fuzzing.rs). `make fuzz` starts it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static READER: LazyLock<String> = LazyLock::new(|| {
    std::env::var("FLEET_FUZZ_READER").expect("FLEET_FUZZ_READER names a reader")
});

fuzz_target!(|bytes: &[u8]| fleet::fuzzing::run(&READER, bytes));
