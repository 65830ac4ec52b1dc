#!/usr/bin/env bash
# `make features`: every feature alone, all, and none compile without warnings.
. "$(dirname "$0")/local/lib.sh"

VERSION=0.6.46

tools/local/install.sh build
if [ "$(cargo-hack hack --version 2>/dev/null)" != "cargo-hack $VERSION" ]; then
  say "installing cargo-hack $VERSION into .local/tools"
  # The checkout's target folder may be in use, and keeps its own settings.
  CARGO_TARGET_DIR="$TOOLS/target" cargo install -q --locked --force --root "$TOOLS" --version "$VERSION" cargo-hack
  rm -rf "$TOOLS/target"
fi

say "features, one at a time"
# clippy rather than check: it can deny warnings in our crate only, where RUSTFLAGS would compile
# every dependency anew. No --no-dev-deps: it rewrites Cargo.toml while it runs, and cargo's resolver
# keeps the features of dev-dependencies out of a library's build anyway.
cargo hack clippy --each-feature -- -D warnings
