#!/usr/bin/env bash
# `make lint`: what must hold before a commit, short of the tests. Warnings are faults.
. "$(dirname "$0")/local/lib.sh"

tools/local/install.sh build shellcheck
for component in fmt clippy; do
  cargo "$component" --version >/dev/null 2>&1 ||
    die "cargo $component is missing: rustup component add rustfmt clippy"
done

say "format"
cargo fmt --check
say "clippy, everything on"
cargo clippy --all-targets --features sandbox -- -D warnings
say "clippy, no domain"
cargo clippy --no-default-features -- -D warnings
say "shellcheck"
mapfile -t scripts < <(find tools benches deploy -name '*.sh' 2>/dev/null | sort)
shellcheck "${scripts[@]}" .ci/run
tools/features.sh
