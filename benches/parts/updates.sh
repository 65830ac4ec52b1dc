#!/usr/bin/env bash
# P4: update feeds on a million bindings, and checks of drivers. BENCH_BINDINGS: how many.
. "$(dirname "$0")/../lib.sh"
exec python3 benches/updates.py "$WORK" "$WORK/fleet" "$POSTMASTER"
