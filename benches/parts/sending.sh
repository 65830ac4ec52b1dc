#!/usr/bin/env bash
# Statuses to the regulator beside bare calls.
. "$(dirname "$0")/../lib.sh"
cargo_bench sending
