#!/usr/bin/env bash
# A runner of cargo's: again.sh BINARY ARG... runs a test binary; where at most AGAIN tests failed, these run once
# more, by themselves, and decide. Whatever happens, the first failure is printed in full.
. "$(dirname "$0")/lib.sh"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT

code=0
"$@" | tee "$log" || code=${PIPESTATUS[0]}
# 101 is "tests failed"; anything else is no matter of single tests.
((code == 101)) || exit "$code"

# The list behind the last "failures:"; the first one is followed by what they printed.
mapfile -t failed < <(awk '/^failures:$/ { list = "" } /^    [a-zA-Z0-9_:]+$/ { list = list $1 "\n" }
  END { printf "%s", list }' "$log")
if ((${#failed[@]} == 0 || ${#failed[@]} > AGAIN)); then exit "$code"; fi

printf '\n######## failed, and run once more by themselves: %s\n' "${failed[*]}"
"$1" --exact "${failed[@]}" --test-threads 1
printf '\n######## passed when they ran by themselves, so they race with the machine or with others: %s\n' "${failed[*]}"
