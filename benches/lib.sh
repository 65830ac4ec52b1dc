# shellcheck shell=bash
# What the parts of `make bench` share. Sourced by benches/parts/*.sh, which benches/run.sh runs.
. "$(dirname "${BASH_SOURCE[0]}")/../tools/local/lib.sh"

[ -n "${WORK:-}" ] || die "run it by: make bench PART=$(basename "$0" .sh)"

# new_database NAME: an empty one, which servers that are started from here use.
new_database() {
  FLEET__DATABASE__URL="${BASE_URL%/*}/$1"
  export FLEET__DATABASE__URL
  tools/local/postgres.sh psql -qc 'SET client_min_messages = warning' \
    -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" -c "CREATE DATABASE $1"
}

# load_customers: a database of many customers ($rows), the keys that are asked for ($WORK/keys), and the
# server's address.
load_customers() {
  rows="${BENCH_CUSTOMERS:-$([ -n "${QUICK:-}" ] && echo 200000 || echo 5000000)}"
  local database="fleet_bench_$rows" source
  FLEET__DATABASE__URL="${BASE_URL%/*}/$database"
  FLEET__HTTP__LISTEN="127.0.0.1:$(free_port "$BENCH_PORT")"
  export FLEET__DATABASE__URL FLEET__HTTP__LISTEN
  # Data of an earlier run serve again, with the sizes they had when they were fresh, as long as nothing
  # that they come from has changed.
  source="$rows $(cat migrations/*/*/up.sql benches/load.sql | sha256sum | cut -c 1-16)"
  if [ "$(customers_sql -Atc 'SELECT source FROM bench.loaded' 2>/dev/null || true)" != "$source" ]; then
    say "loading $rows customers"
    new_database "$database"
    "$WORK/fleet" migrate >/dev/null
    customers_sql -v rows="$rows" -v source="$source" -f benches/load.sql >&2
  else
    say "migrating; the $rows customers are there already"
    "$WORK/fleet" migrate >/dev/null
  fi
  # A walk over the whole table in random order.
  customers_sql -At -F ' ' -c "SELECT encode(substring(park_id FROM 2), 'hex'), encode(substring(personal_phone_id FROM 2), 'hex')
    FROM (SELECT * FROM fleet_customers.customers JOIN fleet_customers.parks USING (park_no) WHERE random() < 200000.0 / $rows) c ORDER BY random()" >"$WORK/keys"
}

customers_sql() { DATABASE_URL="$FLEET__DATABASE__URL" tools/local/postgres.sh psql -q -v ON_ERROR_STOP=1 "$@"; }

# cargo_bench NAME: a part in Rust, with the features of the server, so that no dependency is compiled twice.
cargo_bench() {
  DATABASE_URL="$BASE_URL" cargo bench --features sandbox --bench measure -- "$1"
}
