#!/usr/bin/env bash
# `make bench-directory`: the caches of drivers (docs/performance.md). QUICK=1: a tenth of the drivers.
. "$(dirname "$0")/../tools/local/lib.sh"

say "building (the first time takes minutes)"
exec cargo bench --features sandbox --bench directory
