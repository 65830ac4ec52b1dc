#!/usr/bin/env bash
# `make api-test`: schemathesis reads the server's own OpenAPI and sends what it allows and what it
# forbids, against a server, stand-ins and a database of the test's own. Arguments go to schemathesis.
. "$(dirname "$0")/local/lib.sh"

tools/local/install.sh build postgres mosquitto python

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "schemathesis needs Python 3.10 or newer; this is $(python3 --version)"
python_tools api-test

cargo build --features sandbox
test_world api-test 18080
export FLEET__KAFKA__BROKERS="" # events come over HTTP

start_stand_ins --seed-customers "$base"
start_server

# `sandbox-all` may call every audience. The seed is fixed and no examples are kept: two runs of one
# build send the same. It runs in a folder of its own, where it leaves what `st replay` needs. One
# worker: Python before 3.11.9 fails in its own parser when several threads use it.
say "schemathesis (also in .local/log/api-test.log)"
mkdir -p "$LOCAL/api-test"
cp tools/api-test.toml "$LOCAL/api-test/schemathesis.toml"
curl -fsS --noproxy '*' "$base/fleet-customers/dispatcher/v1/customers?limit=100" \
  -H 'Authorization: Bearer sandbox-all' -H 'X-Park-Id: park-1' -H 'X-Dispatcher-Id: 1' |
  grep -o '"personal_phone_id":"[^"]*"' | cut -d: -f2 >"$LOCAL/api-test/customers.txt"
[ -s "$LOCAL/api-test/customers.txt" ] || die "the server lists no example customers"
check() {
  NO_PROXY=127.0.0.1 "$VENV/bin/schemathesis" --no-color run "$base/openapi.json" \
    --header 'Authorization: Bearer sandbox-all' --checks all --seed 1 --workers 1 \
    --request-timeout 10 --generation-database none "$@" </dev/null
}
(
  cd "$LOCAL/api-test"
  check --phases examples,coverage,fuzzing --max-examples 30 "$@"
  # Chains of calls. Here the tool would fill the identity headers with ids of earlier answers, so
  # they are given, and only valid input is sent.
  check --phases stateful --mode positive --max-examples 30 \
    --header 'X-Park-Id: park-1' --header 'X-Dispatcher-Id: 1' "$@"
) 2>&1 | tee "$LOG/api-test.log"
