#!/usr/bin/env bash
# `make chaos`: seeded fault runs with real processes (docs/chaos.md), and a table of what came of them.
# SEEDS runs of each scenario, from SEED on; DRIVERS in the great mailing. Arguments choose scenarios.
# WRITE=1: where all scenarios were run and all passed, the table goes into docs/chaos.md.
. "$(dirname "$0")/local/lib.sh"

PAPER=docs/chaos.md
export FLEET_CHAOS_SEEDS="${SEEDS:-3}" FLEET_CHAOS_SEED="${SEED:-1}" FLEET_CHAOS_DRIVERS="${DRIVERS:-100000}" FLEET_CHAOS_STRIDE="${STRIDE:-1}"
out="$LOG/chaos.log"

# Which machine, and what else it did.
machine() {
  local model memory load
  model="$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
  memory="$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)"
  read -r load _ </proc/loadavg
  echo "$(nproc) cores${model:+ ($model)}, $memory GB; load before the run: $load"
}

# table: what the runs told, in the order of scenarios and seeds.
table() {
  echo "| scenario | seed | faults | selected | delivered | lost | doubled | seconds |"
  echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
  grep -oE '\| ([0-9]+|clocks)[-0-9:]* [^|]+\| [0-9]+ \|.*' "$out" | sort -V || true
}

# Puts standard input between the markers of the paper.
write() {
  local text
  text="$(cat)"
  [ "$(grep -cE '^<!-- /?run -->$' "$PAPER")" -eq 2 ] || die "$PAPER has no markers"
  text="$text" awk '
    /^<!-- \/run -->$/ { inside = 0 }
    !inside { print }
    /^<!-- run -->$/ { inside = 1; print ENVIRON["text"] }
  ' "$PAPER" >"$PAPER.new"
  mv "$PAPER.new" "$PAPER"
  say "the table is in $PAPER"
}

about="\`make chaos SEED=$FLEET_CHAOS_SEED SEEDS=$FLEET_CHAOS_SEEDS DRIVERS=$FLEET_CHAOS_DRIVERS\
 STRIDE=$FLEET_CHAOS_STRIDE\` at \
$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src tests migrations || echo ', changed'), debug build. $(machine)."
status=0
RUST_TEST_THREADS=1 tools/local/test.sh --test it "chaos::${1:-}" -- --nocapture 2>&1 | tee "$out" || status=$?
echo
table
grep '^chaos:' "$out" || true
if [ -n "${WRITE:-}" ]; then
  [ "$status" -eq 0 ] || die "not all passed: $PAPER stays as it is"
  [ -z "${1:-}" ] || die "not all was run: $PAPER stays as it is"
  { echo "$about"; echo; table; } | write
fi
exit "$status"
