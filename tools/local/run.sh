#!/usr/bin/env bash
# `make run`: from a fresh checkout to a server with stand-ins behind it and data in a database of
# its own. Run again, it rebuilds and restarts. FLEET_PORT, FLEET_SANDBOX_PORT, FLEET_PG_PORT,
# FLEET_MQTT_PORT move it. Kafka is the one that `make kafka` started or KAFKA_BROKERS names; without,
# one inside the stand-ins.
. "$(dirname "$0")/lib.sh"

port="${FLEET_PORT:-8080}"
sandbox_port="${FLEET_SANDBOX_PORT:-8090}"
base="http://127.0.0.1:$port"

# check_port SERVICE PORT VARIABLE
check_port() {
  ! port_taken "$2" ||
    die "port $2 is taken by another program. Choose another for the $1: $3=$(free_port "$2") make run"
}
# Before the build, which takes minutes, where nothing of ours can be what holds the port.
running fleet >/dev/null || check_port server "$port" FLEET_PORT
running sandbox >/dev/null || check_port stand-ins "$sandbox_port" FLEET_SANDBOX_PORT

tools/local/install.sh build postgres mosquitto
tools/local/postgres.sh up
use_broker
FLEET__DATABASE__URL="$(tools/local/postgres.sh url)"
FLEET__HTTP__LISTEN="127.0.0.1:$port"
export FLEET__DATABASE__URL FLEET__HTTP__LISTEN
stand_ins "http://127.0.0.1:$sandbox_port"

say "building (the first time takes minutes)"
cargo build --features sandbox

# After the build: one that fails leaves the old server running.
stop fleet
stop sandbox
check_port server "$port" FLEET_PORT
check_port stand-ins "$sandbox_port" FLEET_SANDBOX_PORT

say "migrating"
"$FLEET_BIN" migrate

say "starting the stand-ins on $sandbox_port and the server on $port"
brokers="$(tools/local/kafka.sh brokers)"
start sandbox "http://127.0.0.1:$sandbox_port/__sandbox/health" 30 \
  "$FLEET_BIN" sandbox --listen "127.0.0.1:$sandbox_port" --kafka "${brokers:-embedded}" \
  --state .local/sandbox-state.jsonl --seed-customers "$base" --seed-cabinets "$base" \
  --mqtt-url "$FLEET__MQTT__URL" --cabinets "${FLEET_CABINETS:-20}"
# The embedded broker takes a free port, and tells which.
FLEET__KAFKA__BROKERS="$(curl -fsS --noproxy '*' "http://127.0.0.1:$sandbox_port/__sandbox/kafka/brokers" |
  sed -n 's/.*"brokers":"\([^"]*\)".*/\1/p')"
export FLEET__KAFKA__BROKERS
start fleet "$base/readyz" 60 \
  "$FLEET_BIN" serve --config config/sandbox.toml

# The stand-ins give an empty server a few hundred customers through its own API: the calls below
# look one of them up.
say "waiting for the example customers"
wait_for_line sandbox 'example customers were added|there are customers already' 60
wait_for_line sandbox 'example cabinets were added|there are cabinets already' 60

cat <<TEXT

fleet is up.
  $base/docs      the API, to read and to try
  $base/readyz    is it ready, and what is not
  $base/metrics   for Prometheus
Logs: .local/log/fleet.log, .local/log/sandbox.log. 'make run' rebuilds and restarts, 'make down' stops.

Three calls to try. A dispatcher looks a customer up by phone:

curl -s $base/fleet-customers/dispatcher/v1/customers/find-by-phone \\
  -H 'Authorization: Bearer sandbox-dispatcher' -H 'X-Park-Id: park-1' -H 'X-Dispatcher-Id: 1' \\
  -H 'Content-Type: application/json' -d '{"phone":"+7 999 000-00-01"}'

and lists the park's customers:

curl -s '$base/fleet-customers/dispatcher/v1/customers?limit=3' \\
  -H 'Authorization: Bearer sandbox-dispatcher' -H 'X-Park-Id: park-1' -H 'X-Dispatcher-Id: 1'

The order service records who ordered (send it twice: the second answer is the first one again):

curl -s $base/fleet-customers/internal/v1/customers/upsert \\
  -H 'Authorization: Bearer sandbox-internal' -H 'Idempotency-Key: first-call' \\
  -H 'Content-Type: application/json' \\
  -d '{"park_id":"park-1","phone":"+7 999 123-45-67","name":"Anna","sms_enabled":true,"ordered_at":"2026-01-01T10:00:00Z"}'
TEXT
