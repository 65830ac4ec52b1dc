#!/usr/bin/env bash
# `make bench-kafka`: from Kafka to committed rows, beside pgbench (docs/performance.md). QUICK=1: shorter.
# `make kafka` before it, for figures of a real broker.
. "$(dirname "$0")/../tools/local/lib.sh"

features=deptrans-driver-status-integration,sandbox
say "building (the first time takes minutes)"
cargo bench --no-run --no-default-features --features "$features" --bench kafka
tools/local/postgres.sh up
DATABASE_URL="$(tools/local/postgres.sh url)"
KAFKA_BROKERS="$(tools/local/kafka.sh brokers)"
PGBENCH="$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1 || echo pgbench)"
export DATABASE_URL KAFKA_BROKERS PGBENCH
exec cargo bench --no-default-features --features "$features" --bench kafka
