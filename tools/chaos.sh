#!/usr/bin/env bash
# `make chaos`: seeded fault runs with real processes (docs/chaos.md), and a table of what came of them.
# SEEDS runs of each scenario, from SEED on; DRIVERS in the great mailing. Arguments choose scenarios.
. "$(dirname "$0")/local/lib.sh"

export FLEET_CHAOS_SEEDS="${SEEDS:-3}" FLEET_CHAOS_SEED="${SEED:-1}" FLEET_CHAOS_DRIVERS="${DRIVERS:-100000}" FLEET_CHAOS_STRIDE="${STRIDE:-1}"
out="$LOG/chaos.log"
status=0
RUST_TEST_THREADS=1 tools/local/test.sh --test it "chaos::${1:-}" -- --nocapture 2>&1 | tee "$out" || status=$?
echo
echo "| scenario | seed | faults | selected | delivered | lost | doubled | seconds |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
grep -oE '\| [0-9]+[-0-9]* [^|]+\|.*' "$out" | sort -V || true
grep '^chaos:' "$out" || true
exit "$status"
