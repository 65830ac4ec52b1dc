#!/usr/bin/env bash
# P7: a proxied estimate beside nginx as a reverse proxy.
. "$(dirname "$0")/../lib.sh"
exec python3 benches/orders.py "$WORK"
