#!/usr/bin/env bash
# `make deny`: licences, sources and banned crates of the dependency tree (deny.toml). By hand, after
# a change to the dependencies: the tool takes minutes to compile.
. "$(dirname "$0")/local/lib.sh"

VERSION=0.20.2

tools/local/install.sh build
if [ "$(cargo-deny --version 2>/dev/null)" != "cargo-deny $VERSION" ]; then
  say "installing cargo-deny $VERSION into .local/tools (takes minutes)"
  CARGO_TARGET_DIR="$TOOLS/target" cargo install -q --locked --force --root "$TOOLS" --version "$VERSION" cargo-deny
  rm -rf "$TOOLS/target"
fi
# Not the advisories: they would have to be downloaded.
cargo deny check bans licenses sources
