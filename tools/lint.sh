#!/usr/bin/env bash
# `make lint`: what must hold before a commit, short of the tests. Warnings are faults.
. "$(dirname "$0")/local/lib.sh"

tools/local/install.sh build shellcheck python prometheus
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
say "papers: links lead somewhere, every decision is listed"
grep -oE '\]\([^)# ]+' README.md docs/*.md docs/decisions/*.md | sed 's/:\](/ /' | while read -r page link; do
  case $link in
    http*) ;;
    *) [ -e "$(dirname "$page")/$link" ] || die "$page: there is no $link" ;;
  esac
done
for page in docs/decisions/*.md; do
  page="${page##*/}"
  [ "$page" = README.md ] || grep -qF "($page)" docs/decisions/README.md ||
    die "docs/decisions/README.md does not list $page"
done
say "squawk: what migrations do to those who work meanwhile (.squawk.toml)"
python_tools migrations
"$VENV/bin/squawk" migrations/*/*/up.sql
say "dashboards and alert rules"
tools/dashboards/generate.py --check
tools/dashboards/check.py
promtool check config deploy/prometheus/prometheus.yml >/dev/null
promtool check rules deploy/prometheus/rules/*.yml >/dev/null
promtool test rules deploy/prometheus/tests/*.yml >/dev/null
tools/features.sh
