#!/usr/bin/env bash
# `make bench-tasks`: the task queue beside pgbench (docs/performance.md). QUICK=1: shorter.
. "$(dirname "$0")/../tools/local/lib.sh"

say "building (the first time takes minutes)"
cargo bench --no-run --bench tasks
tools/local/postgres.sh up
DATABASE_URL="$(tools/local/postgres.sh url)"
PGBENCH="$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1 || echo pgbench)"
export DATABASE_URL PGBENCH
exec cargo bench --bench tasks
