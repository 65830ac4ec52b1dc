#!/usr/bin/env bash
# P8: the task queue beside pgbench.
. "$(dirname "$0")/../lib.sh"
cargo_bench tasks
