#!/usr/bin/env bash
# Two instances on one database beside one.
. "$(dirname "$0")/../lib.sh"
load_customers
exec python3 benches/instances.py "$WORK" "$rows" "$POSTMASTER"
