//! The parts of `make bench` that measure from inside the process: `measure PART`. One program for all of them, as
//! linking takes minutes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::similar_names,
    reason = "a tool that ends with its first trouble"
)]

mod directory;
mod kafka;
mod layers;
mod report;
mod sending;
mod tasks;

// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // What cargo itself adds is not for us.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut words = arguments.iter().map(String::as_str);
    match words.next().unwrap_or_default() {
        "directory" => directory::run(),
        "kafka" => kafka::run(),
        "layers" => layers::run(words.next()),
        "sending" => sending::run(),
        "tasks" => tasks::run(),
        other => panic!("there is no part '{other}'"),
    }
}
