#!/usr/bin/env bash
# `make restore-test`: backup and restore as docs/operations.md tells them, in a cluster of the test's own:
# pg_dump and pg_restore into another database, and a base backup with WAL to a moment. The tables are
# compared, and the server answers from what was restored. By hand. CUSTOMERS: how many there are.
. "$(dirname "$0")/local/lib.sh"

CUSTOMERS="${CUSTOMERS:-1000000}"
WORK=/var/tmp/fleet-restore # as PostgreSQL's user must enter it
export PGHOST="$WORK" PGUSER=fleet PGDATABASE=fleet

tools/local/install.sh build postgres
cargo build --features sandbox
bin="$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)"

user="$(id -un)"
((EUID != 0)) || user=postgres
as_pg() {
  if ((EUID == 0)); then (cd / && exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"); else "$@"; fi
}

# server DATA PORT start|stop
server() {
  as_pg "$bin/pg_ctl" -D "$1" -w -t 120 -s -l "$1.log" \
    -o "-p $2 -k $WORK -c listen_addresses=127.0.0.1" "$3"
}

cleanup() {
  stop restore-fleet
  stop restore-sandbox
  local data
  for data in "$WORK"/data "$WORK"/moment; do
    if [ -e "$data/postmaster.pid" ]; then as_pg "$bin/pg_ctl" -D "$data" -s -m immediate stop || true; fi
  done
  rm -rf "$WORK"
}
cleanup
trap cleanup EXIT
mkdir -p "$WORK"
chown "$user" "$WORK"

port="$(free_port 15432)"
say "a cluster with $CUSTOMERS customers, whose WAL is kept"
as_pg mkdir "$WORK/wal"
as_pg "$bin/initdb" -D "$WORK/data" -U fleet -A trust --no-sync >/dev/null
cat >>"$WORK/data/postgresql.conf" <<CONF
archive_mode = on
archive_command = 'test ! -f $WORK/wal/%f && cp %p $WORK/wal/%f'
CONF
server "$WORK/data" "$port" start
export PGPORT="$port"
psql -qd postgres -c 'CREATE DATABASE fleet'
url() { echo "postgres://fleet@127.0.0.1:$1/$2"; }
FLEET__DATABASE__URL="$(url "$port" fleet)" "$FLEET_BIN" migrate
# Rows of every schema, with ids as fleet packs them.
psql -qv ON_ERROR_STOP=1 -v customers="$CUSTOMERS" <<'SQL'
INSERT INTO fleet_customers.parks (park_id)
  SELECT convert_to('park-' || n, 'UTF8') FROM generate_series(1, 50) n;
INSERT INTO fleet_customers.customers
  (personal_phone_id, park_no, orders_count, first_order_at, last_order_at, order_options)
  SELECT '\x01'::bytea || decode(md5(n::text), 'hex'), 1 + n % 50, n % 40, now(), now(),
    CASE n % 5 WHEN 0 THEN '{"classes": ["econom"], "comment": "at the gate"}'::jsonb END
  FROM generate_series(1, :customers) n;
INSERT INTO fleet_customers.favourite_locations (id, park_no, personal_phone_id, body)
  SELECT gen_random_uuid(), park_no, personal_phone_id, '{"label": "Home", "address": "x", "lat": 1, "lon": 2}'
  FROM fleet_customers.customers WHERE orders_count = 1;
INSERT INTO fleet_communications.park_streams SELECT 'park-' || n, 20 FROM generate_series(1, 50) n;
INSERT INTO fleet_communications.conversations
  SELECT 'park-' || p, 'd-' || d, d, 0, 0 FROM generate_series(1, 50) p, generate_series(1, 20) d;
INSERT INTO fleet_communications.messages
  SELECT park_id, contractor_id, last_seq, gen_random_uuid(), true, 'hello', NULL, now(), now()
  FROM fleet_communications.conversations;
UPDATE deptrans.feeds SET last_seq = 1000 WHERE name = 'bindings';
INSERT INTO deptrans.profiles SELECT n, now(), decode(md5(n::text), 'hex'), convert_to(n::text, 'UTF8')
  FROM generate_series(1, 1000) n;
INSERT INTO scooter_accumulator.accumulators (id, charge) SELECT 'acc-' || n, n % 100 FROM generate_series(1, 1000) n;
ANALYZE;
SQL

# contents PORT DATABASE: a line a table, with its rows and a digest of all of them in no order.
contents() {
  local table
  psql -p "$1" -d "$2" -Atc "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables ORDER BY 1" |
    while read -r table; do
      psql -p "$1" -d "$2" -Atc \
        "SELECT '$table', count(*), sum(hashtextextended(t::text, 0)) FROM $table t" </dev/null
    done
}
# timed NAME COMMAND...: runs it and says how long it took.
timed() {
  local name=$1 from
  from="$(date +%s%N)"
  shift
  "$@"
  say "$name: $((($(date +%s%N) - from) / 1000000)) ms"
}

say "pg_dump and pg_restore"
before="$(contents "$port" fleet)"
say "the database: $(psql -Atc "SELECT pg_size_pretty(pg_database_size('fleet'))")"
timed pg_dump "$bin/pg_dump" --format=custom --file="$WORK/fleet.dump" fleet
say "the dump: $(du -h "$WORK/fleet.dump" | cut -f 1)"
psql -qd postgres -c 'CREATE DATABASE restored'
timed 'pg_restore with two jobs' "$bin/pg_restore" --dbname=restored --jobs=2 --exit-on-error "$WORK/fleet.dump"
[ "$(contents "$port" restored)" = "$before" ] || die "what was restored is not what was dumped"
FLEET__DATABASE__URL="$(url "$port" restored)" "$FLEET_BIN" migrate
say "all $(wc -l <<<"$before") tables are the same"

say "a base backup, and a restore to the moment before a mistake"
timed pg_basebackup as_pg "$bin/pg_basebackup" -h "$WORK" -p "$port" -U fleet -D "$WORK/moment" -X none -c fast
psql -qc "INSERT INTO scooter_accumulator.accumulators (id, charge) VALUES ('after-the-backup', 7)"
before="$(contents "$port" fleet)"
moment="$(psql -Atc 'SELECT clock_timestamp()')"
psql -qc 'DELETE FROM scooter_accumulator.accumulators'
last="$(psql -Atc 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')"
psql -qAtc 'SELECT pg_switch_wal()' >/dev/null
deadline=$((SECONDS + 60))
until [ -e "$WORK/wal/$last" ]; do
  ((SECONDS < deadline)) || die "the WAL is not archived"
  sleep 0.2
done
server "$WORK/data" "$port" stop
cat >>"$WORK/moment/postgresql.conf" <<CONF
archive_mode = off
restore_command = 'cp $WORK/wal/%f %p'
recovery_target_time = '$moment'
recovery_target_action = promote
CONF
as_pg touch "$WORK/moment/recovery.signal"
moment_port="$(free_port $((port + 1)))"
timed 'recovery to the moment' server "$WORK/moment" "$moment_port" start
[ "$(contents "$moment_port" fleet)" = "$before" ] || die "what was recovered is not what there was at the moment"
say "all tables are as at the moment"

say "the server, on what was recovered"
http_port="$(free_port 18180)"
sandbox_port="$(free_port 18280)"
stand_ins "http://127.0.0.1:$sandbox_port"
FLEET__DATABASE__URL="$(url "$moment_port" fleet)"
export FLEET__DATABASE__URL FLEET__KAFKA__BROKERS="" FLEET__HTTP__LISTEN="127.0.0.1:$http_port"
start restore-sandbox "http://127.0.0.1:$sandbox_port/__sandbox/health" 30 \
  "$FLEET_BIN" sandbox --listen "127.0.0.1:$sandbox_port" --kafka none
start restore-fleet "http://127.0.0.1:$http_port/readyz" 60 "$FLEET_BIN" serve --config config/sandbox.toml
customer="$(printf 7 | md5sum | cut -d ' ' -f 1)"
curl -fsS --noproxy '*' "http://127.0.0.1:$http_port/fleet-customers/internal/v1/customers/retrieve" \
  -H 'Authorization: Bearer sandbox-internal' -H 'Content-Type: application/json' \
  -d "{\"customers\":[{\"park_id\":\"park-8\",\"personal_phone_id\":\"$customer\"}]}" |
  grep -q '"orders_count":7' || die "the server does not find a customer that was restored"
say "a restored customer is found"
