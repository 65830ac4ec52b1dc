#!/usr/bin/env bash
# P3: from Kafka to committed rows, beside pgbench. `make kafka` before it, for figures of a real broker.
. "$(dirname "$0")/../lib.sh"
KAFKA_BROKERS="$(tools/local/kafka.sh brokers)"
export KAFKA_BROKERS
cargo_bench kafka
