#!/usr/bin/env bash
# `make bench-cabinets`: the round trip of `execute` beside a bare one through the same broker, and events of
# cabinets applied (docs/performance.md). QUICK=1: fewer. FLEET_BENCH_BIN: a server that was built before.
. "$(dirname "$0")/../tools/local/lib.sh"

work="$LOCAL/bench"
database="fleet_bench_cabinets"
mkdir -p "$work"
if [ -z "${FLEET_BENCH_BIN:-}" ]; then
  say "building the release server (the first time takes minutes)"
  cargo build --release
  FLEET_BENCH_BIN="${CARGO_TARGET_DIR:-target}/release/fleet"
fi
# A copy: another build must not change what is measured.
cp "$FLEET_BENCH_BIN" "$work/fleet"
tools/local/install.sh python
tools/local/postgres.sh up
base="$(tools/local/postgres.sh url)"
FLEET__DATABASE__URL="${base%/*}/$database"
export FLEET__DATABASE__URL
tools/local/postgres.sh psql -qc 'SET client_min_messages = warning' \
  -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database"
FLEET__HTTP__LISTEN="127.0.0.1:$(free_port "${BENCH_PORT:-18080}")"
export FLEET__HTTP__LISTEN FLEET__DOMAINS="scooter-accumulator"
PGBENCH="$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1 || echo pgbench)"
postmaster="$(tools/local/postgres.sh status 2>/dev/null | sed -n 's/^up: pid \([0-9]*\).*/\1/p')"
python3 benches/cabinets.py "$work" "$PGBENCH" "$FLEET__DATABASE__URL" "$(free_port 18830)" "${postmaster:-0}"
