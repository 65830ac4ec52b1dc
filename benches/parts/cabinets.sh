#!/usr/bin/env bash
# P6: the round trip of `execute` beside a bare one through the same broker, and events of cabinets applied.
. "$(dirname "$0")/../lib.sh"
new_database fleet_bench_cabinets
FLEET__HTTP__LISTEN="127.0.0.1:$(free_port "$BENCH_PORT")"
export FLEET__HTTP__LISTEN FLEET__DOMAINS="scooter-accumulator"
exec python3 benches/cabinets.py "$WORK" "$PGBENCH" "$FLEET__DATABASE__URL" "$(free_port 18830)" "$POSTMASTER"
