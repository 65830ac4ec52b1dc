#!/usr/bin/env bash
# `make upgrade-test BASE=REF`: a rolling update from a former release, with real processes. The former
# release makes the database and serves; this one migrates it meanwhile; the former goes on, restarts and
# migrates on the newer schema; then both serve side by side, and at last this one alone. After each step
# every domain is called. It builds REF, which takes minutes.
. "$(dirname "$0")/local/lib.sh"

base_ref="${BASE:?usage: make upgrade-test BASE=a-git-ref}"
WORK="$LOCAL/upgrade"
TREE="$WORK/tree"
DATABASE=fleet_upgrade_test

tools/local/install.sh build postgres mosquitto

# build FOLDER NAME: the binary is kept under its own name, for the target folder is shared.
build() {
  say "building the $2 release"
  (cd "$1" && CARGO_TARGET_DIR="$(realpath "${CARGO_TARGET_DIR:-$ROOT/target}")" cargo build --locked --features sandbox)
  mkdir -p "$WORK/$2"
  cp "$FLEET_BIN" "$WORK/$2/fleet"
}
commit="$(git rev-parse --verify --quiet "$base_ref^{commit}")" || die "BASE=$base_ref is no commit of this repository"
rm -rf "$TREE"
mkdir -p "$TREE"
git archive "$commit" | tar -x -C "$TREE"
build "$TREE" former
build "$ROOT" new

tools/local/postgres.sh up
use_broker
cleanup() {
  stop upgrade-former-fleet
  stop upgrade-new-fleet
  stop upgrade-sandbox
  drop_database "$DATABASE" || true
}
trap cleanup EXIT
own_database "$DATABASE"

port="$(free_port 18080)"
new_port="$(free_port $((port + 1)))"
sandbox_port="$(free_port 18480)"
former="http://127.0.0.1:$port" new="http://127.0.0.1:$new_port"
stand_ins "http://127.0.0.1:$sandbox_port"
export FLEET__KAFKA__BROKERS="" # events come over HTTP

# unknown_to FOLDER: `-u NAME` for each variable whose section that release does not know, and refuses.
unknown_to() {
  local name section
  for name in $(compgen -e FLEET__); do
    section="${name#FLEET__}"
    section="${section%__*}"
    section="${section//__/.}"
    grep -qFx "[${section,,}]" "$1/config/default.toml" || printf -- '-u\n%s\n' "$name"
  done
}
mapfile -t unknown < <(unknown_to "$TREE")
serve_former() {
  start upgrade-former-fleet "$former/readyz" 60 env "${unknown[@]}" FLEET__HTTP__LISTEN="127.0.0.1:$port" \
    "$WORK/former/fleet" serve --config "$TREE/config/sandbox.toml"
}
former_migrates() { env "${unknown[@]}" "$WORK/former/fleet" migrate; }
cabinets_at="$new"
"$WORK/former/fleet" openapi >"$WORK/former/openapi.json"
if grep -q '"/scooter-accumulator/' "$WORK/former/openapi.json"; then cabinets_at="$former"; fi

say "the former release makes the database and serves"
former_migrates
start upgrade-sandbox "http://127.0.0.1:$sandbox_port/__sandbox/health" 30 \
  "$WORK/new/fleet" sandbox --listen "127.0.0.1:$sandbox_port" --kafka none \
  --seed-customers "$former" --seed-cabinets "$cabinets_at" --mqtt-url "$FLEET__MQTT__URL" --cabinets 5
serve_former
wait_for_line upgrade-sandbox 'example customers were added' 60
if [ "$cabinets_at" = "$former" ]; then wait_for_line upgrade-sandbox 'example cabinets were added' 60; fi
tools/smoke.sh "$former"

say "this release migrates while the former one serves"
"$WORK/new/fleet" migrate
tools/smoke.sh "$former"

say "the former release migrates and restarts on the newer schema"
former_migrates
stop upgrade-former-fleet
serve_former
tools/smoke.sh "$former"

say "both serve side by side"
start upgrade-new-fleet "$new/readyz" 60 env FLEET__HTTP__LISTEN="127.0.0.1:$new_port" \
  "$WORK/new/fleet" serve --config config/sandbox.toml
wait_for_line upgrade-sandbox 'example cabinets were added' 60
tools/smoke.sh "$new"
tools/smoke.sh "$former"

say "this release serves alone"
stop upgrade-former-fleet
tools/smoke.sh "$new"
# Not the former one's: its stand-ins' tokens are those of its own time.
if grep '"level":"ERROR"' "$LOG/upgrade-new-fleet.log"; then
  die "this release logged errors"
fi
say "from $commit to this release: every call was answered at each step"
