#!/usr/bin/env bash
# `make bench`: measures the release server beside its limits in the same run, part by part, and prints one table
# (docs/performance.md). PART='customers kafka': these parts only. QUICK=1: a few minutes. WRITE=1: the table goes
# into docs/performance.md. BENCH_BIN: a server that was built before, with feature sandbox. BENCH_PORT: the
# first of a hundred ports.
. "$(dirname "$0")/../tools/local/lib.sh"

all=(customers layers comparison orders updates mailing kafka sending directory tasks cabinets isolation
  instances growth)
read -ra parts <<<"${PART:-${all[*]}}"
for part in "${parts[@]}"; do
  [ -x "benches/parts/$part.sh" ] || die "there is no part '$part'; there are: ${all[*]}"
done

tools/local/install.sh build postgres mosquitto python wrk nginx
export WORK="$LOCAL/bench"
mkdir -p "$WORK"
if [ -z "${BENCH_BIN:-}" ]; then
  say "building the release server (the first time takes minutes)"
  # With the stand-ins and all domains: one build for the server, what stands in for its neighbours, and the
  # parts in Rust.
  cargo build --release --features sandbox
  BENCH_BIN="${CARGO_TARGET_DIR:-target}/release/fleet"
fi
# A copy: another build must not change what is measured.
cp "$BENCH_BIN" "$WORK/fleet.new"
mv "$WORK/fleet.new" "$WORK/fleet"

tools/local/postgres.sh up
BASE_URL="$(tools/local/postgres.sh url)"
POSTMASTER="$(tools/local/postgres.sh status 2>/dev/null | sed -n 's/^up: pid \([0-9]*\).*/\1/p')"
PGBENCH="$(compgen -G '/usr/lib/postgresql/*/bin/pgbench' | sort -V | tail -n 1 || echo pgbench)"
BENCH_LOAD="$(cut -d ' ' -f 1 /proc/loadavg)"
export BASE_URL PGBENCH BENCH_LOAD POSTMASTER="${POSTMASTER:-0}"
export BENCH_PORT="${BENCH_PORT:-18080}"
# Who needs a broker says so.
export FLEET__KAFKA__BROKERS=""

failed=()
for part in "${parts[@]}"; do
  say "part $part"
  "benches/parts/$part.sh" | python3 benches/report.py take "$part" || {
    failed+=("$part")
    python3 benches/report.py failed "$part"
  }
done
python3 benches/report.py table "${all[@]}"
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
