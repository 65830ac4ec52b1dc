#!/usr/bin/env bash
# What each layer around a handler costs.
. "$(dirname "$0")/../lib.sh"
cargo_bench layers
