#!/usr/bin/env bash
# `make bench`: loads customers into a database of its own and measures the release server on them
# beside pgbench, proxied orders beside nginx, and update feeds (docs/performance.md). QUICK=1: fewer customers, shorter. BENCH_CUSTOMERS: how many.
. "$(dirname "$0")/../tools/local/lib.sh"

rows="${BENCH_CUSTOMERS:-$([ -n "${QUICK:-}" ] && echo 200000 || echo 5000000)}"
database="fleet_bench${QUICK:+_quick}"
work="$LOCAL/bench"
mkdir -p "$work"

say "building the release server (the first time takes minutes)"
cargo build --release
# A copy: another build must not change what is measured.
cp "${CARGO_TARGET_DIR:-target}/release/fleet" "$work/fleet"

tools/local/install.sh python
tools/local/postgres.sh up
base="$(tools/local/postgres.sh url)"
FLEET__DATABASE__URL="${base%/*}/$database"
export FLEET__DATABASE__URL
sql() { DATABASE_URL="$FLEET__DATABASE__URL" tools/local/postgres.sh psql -q -v ON_ERROR_STOP=1 "$@"; }

# Data of an earlier run serve again, with the sizes they had when they were fresh, as long as nothing
# that they come from has changed.
source="$rows $(cat migrations/*/*/up.sql benches/load.sql | sha256sum | cut -c 1-16)"
if [ "$(sql -Atc 'SELECT source FROM bench.loaded' 2>/dev/null || true)" != "$source" ]; then
  say "loading $rows customers"
  tools/local/postgres.sh psql -qc 'SET client_min_messages = warning' \
    -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database"
  "$work/fleet" migrate >/dev/null
  sql -v rows="$rows" -v source="$source" -f benches/load.sql
else
  say "migrating; the $rows customers are there already"
  "$work/fleet" migrate >/dev/null
fi
# What wrk asks for: a walk over the whole table in random order.
sql -At -F ' ' -c "SELECT encode(substring(park_id FROM 2), 'hex'), encode(substring(personal_phone_id FROM 2), 'hex')
  FROM (SELECT * FROM fleet_customers.customers JOIN fleet_customers.parks USING (park_no) WHERE random() < 200000.0 / $rows) c ORDER BY random()" >"$work/keys"

FLEET__HTTP__LISTEN="127.0.0.1:$(free_port "${BENCH_PORT:-18080}")"
export FLEET__HTTP__LISTEN
export FLEET__KAFKA__BROKERS="" # measured by itself: kafka.sh
postmaster="$(tools/local/postgres.sh status 2>/dev/null | sed -n 's/^up: pid \([0-9]*\).*/\1/p')"
PGBENCH="$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1 || echo pgbench)"
export PGBENCH
python3 benches/measure.py "$work" "$rows" "${postmaster:-0}"
python3 benches/orders.py "$work"
# The stand-ins have a build of their own: the release that is measured has none in it.
cargo build -q --features sandbox
python3 benches/updates.py "$work" "$FLEET_BIN" "${postmaster:-0}"
exec python3 benches/mailing.py "$work" "$FLEET_BIN"
