#!/usr/bin/env bash
# P1 and P2 beside the same lookup and upsert in FastAPI (asyncpg) and Fastify (pg), two workers each.
. "$(dirname "$0")/../lib.sh"
load_customers

# The same table, statement by statement, in minimal services: no tokens, metrics, traces or deadlines.
venv="$LOCAL/bench-venv" requirements=benches/comparison/fastapi/requirements.txt
if ! cmp -s "$requirements" "$venv/installed.txt"; then
  say "installing FastAPI into .local/bench-venv"
  rm -rf "$venv"
  { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" &&
    cp "$requirements" "$venv/installed.txt"; } >&2 || say "FastAPI cannot be installed here"
fi
modules="$LOCAL/bench-node"
if command -v npm >/dev/null && ! cmp -s benches/comparison/fastify/package-lock.json "$modules/installed.json"; then
  say "installing Fastify into .local/bench-node"
  rm -rf "$modules"
  mkdir -p "$modules"
  cp benches/comparison/fastify/* "$modules/"
  { (cd "$modules" && npm ci --silent --no-audit --no-fund) &&
    cp "$modules/package-lock.json" "$modules/installed.json"; } >&2 || say "Fastify cannot be installed here"
fi
exec python3 benches/comparison.py "$WORK" "$rows" "$POSTMASTER" "$venv" "$modules"
