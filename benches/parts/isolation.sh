#!/usr/bin/env bash
# One domain in trouble, and the p99 of the other four.
. "$(dirname "$0")/../lib.sh"
new_database fleet_bench_isolation
exec python3 benches/isolation.py "$WORK" "$FLEET__DATABASE__URL" "$(free_port 18830)"
