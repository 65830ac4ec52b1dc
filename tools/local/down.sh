#!/usr/bin/env bash
# `make down`: stops what this checkout's scripts started, and nothing else. Twice is fine.
. "$(dirname "$0")/lib.sh"

# The servers before what they talk to, so that they can finish in order.
for pid_file in "$RUN"/*fleet.pid "$RUN"/*.pid; do
  if [ -e "$pid_file" ]; then stop "$(basename "$pid_file" .pid)"; fi
done
tools/local/mosquitto.sh down
tools/local/postgres.sh down
