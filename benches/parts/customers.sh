#!/usr/bin/env bash
# P1, P2, P9 and P10: customers, beside pgbench with the server's own statements. BENCH_CUSTOMERS: how many.
. "$(dirname "$0")/../lib.sh"
load_customers
exec python3 benches/customers.py "$WORK" "$rows" "$POSTMASTER"
