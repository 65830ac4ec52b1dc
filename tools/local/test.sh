#!/usr/bin/env bash
# `make test`: the tests against a real PostgreSQL; each makes a database of its own from a template.
# Arguments go to `cargo test`. FLEET_TEST_DATABASE_URL, where given, is used and nothing is started.
# Tests of Kafka run against an embedded broker, and also against the real one that `make kafka` started
# or KAFKA_BROKERS names. STALLS=2: meanwhile threads stand still for up to two seconds each (tools/stalls.py).
# AGAIN=3: where no more than three tests of a binary failed, they run once more, by themselves (again.sh).
. "$(dirname "$0")/lib.sh"

# Tests start brokers of their own, and processes whose clock is wrong.
tools/local/install.sh build mosquitto faketime
if [ -z "${FLEET_TEST_DATABASE_URL:-}" ]; then
  if [ -z "${DATABASE_URL:-}" ]; then tools/local/install.sh postgres; fi
  tools/local/postgres.sh up
  FLEET_TEST_DATABASE_URL="$(tools/local/postgres.sh url)"
fi
export FLEET_TEST_DATABASE_URL
KAFKA_BROKERS="$(tools/local/kafka.sh brokers)"
export KAFKA_BROKERS
# From these a test starts one of its own, which it may kill.
KAFKA_LIB="$(tools/local/kafka.sh lib)"
export KAFKA_LIB
if [ -z "$KAFKA_BROKERS" ]; then say "no real Kafka runs (make kafka): the embedded broker only"; fi
# Tests mostly wait for PostgreSQL: more threads than cores.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
config=()
run_by() { config=(--config "target.'cfg(all())'.runner = ['$PWD/$1']"); }
if [ -n "${AGAIN:-}" ]; then run_by tools/local/again.sh; fi
if [ -n "${STALLS:-}" ]; then run_by tools/stalls.py; fi
cargo test --features sandbox "${config[@]}" "$@"
