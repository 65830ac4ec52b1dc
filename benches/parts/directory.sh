#!/usr/bin/env bash
# The caches of drivers. QUICK=1: a tenth of the drivers.
. "$(dirname "$0")/../lib.sh"
cargo_bench directory
