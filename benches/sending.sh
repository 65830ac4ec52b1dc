#!/usr/bin/env bash
# `make bench-sending`: statuses to the regulator beside bare calls (docs/performance.md). QUICK=1: shorter.
. "$(dirname "$0")/../tools/local/lib.sh"

say "building (the first time takes minutes)"
cargo bench --no-run --features sandbox --bench sending
tools/local/postgres.sh up
DATABASE_URL="$(tools/local/postgres.sh url)"
export DATABASE_URL
exec cargo bench --features sandbox --bench sending
