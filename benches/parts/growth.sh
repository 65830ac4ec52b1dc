#!/usr/bin/env bash
# How cost grows: what other parts measure, with 1, 10 and 100 times as much. WRITE=1: draws docs/growth.svg.
. "$(dirname "$0")/../lib.sh"
export QUICK=1

# grow PART VARIABLE SIZE...: the part's figures for each size.
grow() {
  local part="$1" variable="$2" size
  for size in "${@:3}"; do
    say "growth: $part, $size"
    env "$variable=$size" "benches/parts/$part.sh" >/dev/null
    cp "$WORK/$part.json" "$WORK/growth-$part-$size.json"
  done
}

grow customers BENCH_CUSTOMERS 50000 500000 5000000
grow updates BENCH_BINDINGS 10000 100000 1000000
grow mailing BENCH_RECIPIENTS 1000 10000 100000
grow cabinets BENCH_CABINETS 10 100 1000
exec python3 benches/growth.py "$WORK"
