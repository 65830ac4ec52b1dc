#!/usr/bin/env bash
# P5: mailings to many drivers, through stand-ins that answer at once.
. "$(dirname "$0")/../lib.sh"
new_database fleet_bench_mailing
exec python3 benches/mailing.py "$WORK" "$WORK/fleet"
