#!/usr/bin/env bash
# `make fuzz`: for SECONDS each (60), lets libFuzzer look for bytes that break what src/fuzzing.rs promises.
# Arguments are names of readers; without, all in turn. What was learnt stays in fuzz/corpus and is where
# the next run begins; bytes that break something are left in fuzz/artifacts, and belong into fuzz/seeds
# once it is mended: `make test` tries those.
# (SECONDS is a variable of bash's own, which counts up: this keeps what it was given.)
each="${SECONDS_EACH:-60}"
. "$(dirname "$0")/local/lib.sh"

VERSION=0.13.2

tools/local/install.sh build
cargo +nightly --version >/dev/null 2>&1 || {
  say "installing a nightly Rust: coverage needs one"
  rustup toolchain install nightly --profile minimal
}
if [ "$(cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $VERSION" ]; then
  say "installing cargo-fuzz $VERSION into .local/tools"
  CARGO_TARGET_DIR="$TOOLS/target" cargo install -q --locked --force --root "$TOOLS" --version "$VERSION" cargo-fuzz
  rm -rf "$TOOLS/target"
fi

say "building"
# Safe Rust needs no AddressSanitizer, and the C libraries beside it do not link with it.
cargo +nightly fuzz build --sanitizer none outside
program="$(echo fuzz/target/*/release/outside)"

readers=("$@")
[ ${#readers[@]} -gt 0 ] || mapfile -t readers < <(ls fuzz/seeds)
failed=()
for reader in "${readers[@]}"; do
  [ -d "fuzz/seeds/$reader" ] || die "no reader $reader; there are: $(ls -m fuzz/seeds)"
  mkdir -p "fuzz/corpus/$reader" "fuzz/artifacts/$reader"
  say "$reader, $each s"
  FLEET_FUZZ_READER="$reader" "$program" "fuzz/corpus/$reader" "fuzz/seeds/$reader" \
    -max_total_time="$each" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
    -artifact_prefix="fuzz/artifacts/$reader/" >"$LOG/fuzz-$reader.log" 2>&1 || failed+=("$reader")
  grep -E '^Done|SUMMARY|panicked' "$LOG/fuzz-$reader.log" | head -n 5 >&2 || true
done
[ ${#failed[@]} -eq 0 ] || die "broken: ${failed[*]} (.local/log/fuzz-NAME.log, fuzz/artifacts/NAME)"
say "nothing broke"
