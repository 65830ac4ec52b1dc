#!/usr/bin/env bash
# The server built in other ways, side by side; not one of those that run by themselves.
# BENCH_BINARIES='NAME=FILE NAME=LIBRARY:FILE …': the first is what the others are measured against.
. "$(dirname "$0")/../lib.sh"
[ -n "${BENCH_BINARIES:-}" ] || die "say which: BENCH_BINARIES='usual=target/release/fleet other=FILE'"
load_customers
exec python3 benches/binaries.py "$WORK" "$rows" "$POSTMASTER"
