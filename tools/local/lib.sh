# shellcheck shell=bash
# What the scripts in tools/ share. Sourced, never run; it changes into the checkout's root.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
LOCAL="$ROOT/.local" # all we make at run time (one exception: postgres.sh, about /var/tmp)
LOG="$LOCAL/log"
RUN="$LOCAL/run"
TOOLS="$LOCAL/tools"
cd "$ROOT"
mkdir -p "$LOG" "$RUN"

# rustup puts cargo there, and a shell opened before the installation does not know it yet.
export PATH="$PATH:${HOME:-/root}/.cargo/bin:$TOOLS/bin"

# The dev build. (Cargo itself reads CARGO_TARGET_DIR too.)
export FLEET_BIN="${CARGO_TARGET_DIR:-target}/debug/fleet"

say() { printf '==> %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# stand_ins URL: tells a server that is started from here where each stand-in is.
stand_ins() {
  local stand_in name
  for stand_in in personal int-api fleet-parks parks feeds \
    driver-profiles driver-categories-api driver-trackstory krt; do
    name="${stand_in//-/_}"
    [ "$name" != driver_categories_api ] || name=driver_categories
    export "FLEET__UPSTREAMS__${name^^}__BASE_URL=$1/$stand_in"
  done
}

# own_database NAME: an empty database of the script's own, and tells it to a server that is started from
# here. drop_database NAME removes it; there may be none.
own_database() {
  local url query
  drop_database "$1" 2>/dev/null # of a run that was killed
  tools/local/postgres.sh psql -qc "CREATE DATABASE $1"
  url="$(tools/local/postgres.sh url)"
  query="${url#"${url%%\?*}"}" # a DATABASE_URL from outside may end in ?sslmode=…
  url="${url%%\?*}"
  export FLEET__DATABASE__URL="${url%/*}/$1$query"
}
drop_database() { tools/local/postgres.sh psql -qc "DROP DATABASE IF EXISTS $1 WITH (FORCE)"; }

# use_broker: starts the local broker and tells it to a server that is started from here. Who uses another,
# by MQTT_URL, gives FLEET__MQTT__USERNAME and FLEET__MQTT__PASSWORD with it.
use_broker() {
  tools/local/mosquitto.sh up
  FLEET__MQTT__URL="$(tools/local/mosquitto.sh url)"
  if [ -z "${MQTT_URL:-}" ]; then
    FLEET__MQTT__USERNAME=fleet
    FLEET__MQTT__PASSWORD=fleet
  fi
  export FLEET__MQTT__URL FLEET__MQTT__USERNAME FLEET__MQTT__PASSWORD
}

# --- a server of a test's own ---------------------------------------------------------------------

# test_world NAME FIRST_PORT: a database of its own, the local broker, and where a server (base) and its stand-ins
# (sandbox) will be, from FIRST_PORT on. Told to both by the environment; all is gone when the script ends.
test_world() {
  WORLD="$1" DATABASE="fleet_${1//-/_}"
  local port sandbox_port
  tools/local/postgres.sh up
  use_broker
  trap end_test_world EXIT
  end_test_world 2>/dev/null # of a run that was killed
  own_database "$DATABASE"
  port="$(free_port "$2")"
  sandbox_port="$(free_port $(($2 + 200)))"
  base="http://127.0.0.1:$port"
  sandbox="http://127.0.0.1:$sandbox_port"
  export FLEET__HTTP__LISTEN="127.0.0.1:$port"
  stand_ins "$sandbox"
}

end_test_world() {
  stop "$WORLD-prometheus"
  stop "$WORLD-fleet"
  stop "$WORLD-sandbox"
  drop_database "$DATABASE" || true
}

# start_stand_ins OPTIONS...: migrates, and starts the stand-ins of the test's world with these options.
start_stand_ins() {
  "$FLEET_BIN" migrate
  start "$WORLD-sandbox" "$sandbox/__sandbox/health" 30 \
    "$FLEET_BIN" sandbox --listen "${sandbox#http://}" "$@"
}

# start_server: starts the server of the test's world, and waits for the example customers of its stand-ins.
start_server() {
  start "$WORLD-fleet" "$base/readyz" 60 "$FLEET_BIN" serve --config config/sandbox.toml
  wait_for_line "$WORLD-sandbox" 'example customers were added' 60
}

# --- ports -------------------------------------------------------------------------------------

# Asks by connecting: a bare machine has neither ss nor lsof.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FIRST: the first port from FIRST on that nobody listens on.
free_port() {
  local port=$1
  while port_taken "$port"; do
    port=$((port + 1))
    ((port < $1 + 200 && port < 65536)) || die "no free port found from $1 on"
  done
  echo "$port"
}

# --- background services: .local/run/NAME.pid, .local/log/NAME.log --------------------------------

# A pid alone may belong to somebody else by now. A pid with its start time (field 22 of stat, in
# ticks since boot; counted after the name, which may hold spaces) names one process only.
start_time() {
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  read -ra stat <<<"${stat##*) }"
  [ "${stat[0]}" != Z ] && echo "${stat[19]}" # a zombie has ended
}

# running NAME: prints the pid if the process we started under that name still runs. The command
# line is checked too: after a reboot both numbers could, just, be those of something else.
running() {
  local pid started command="/fleet "
  case $1 in
    kafka) command="kafka.Kafka $LOCAL/" ;;
    *prometheus) command="prometheus --config.file=$LOCAL/" ;;
  esac
  read -r pid started 2>/dev/null <"$RUN/$1.pid" || return 1
  [ "$(start_time "$pid")" = "$started" ] || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$command" || return 1
  echo "$pid"
}

# launch NAME COMMAND...: starts it in the background and does not wait.
launch() {
  local name=$1 pid
  shift
  # A session of its own, so that Ctrl-C in the terminal reaches make and not the server.
  setsid "$@" </dev/null >"$LOG/$name.log" 2>&1 &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$RUN/$name.pid"
}

# start NAME URL SECONDS COMMAND...: starts it in the background and waits until URL answers 2xx.
start() {
  local name=$1 url=$2 deadline=$((SECONDS + $3)) pid
  shift 3
  launch "$name" "$@"
  read -r pid _ <"$RUN/$name.pid"
  until curl -fsS -o /dev/null --noproxy '*' --max-time 2 "$url" 2>/dev/null; do
    start_time "$pid" >/dev/null || show_log_and_die "$name" "$name ended before it answered"
    ((SECONDS < deadline)) || show_log_and_die "$name" "$name did not answer at $url in time"
    sleep 0.2
  done
}

# wait_for_line NAME PATTERN SECONDS: until the log of a service we started has such a line.
wait_for_line() {
  local deadline=$((SECONDS + $3))
  until grep -qE "$2" "$LOG/$1.log"; do
    ((SECONDS < deadline)) || show_log_and_die "$1" "$1 did not log '$2' in time"
    sleep 0.2
  done
}

show_log_and_die() {
  printf -- '--- last lines of .local/log/%s.log\n' "$1" >&2
  tail -n 25 "$LOG/$1.log" >&2 || true
  stop "$1"
  die "$2"
}

# stop NAME: TERM, up to 20 seconds for an orderly stop, then KILL. Nothing to stop is fine.
stop() {
  local pid
  if pid="$(running "$1")"; then
    say "stopping $1 (pid $pid)"
    kill -TERM "$pid" 2>/dev/null || true
    wait_end "$pid" 20 || {
      say "$1 did not stop within 20 s: killing it"
      kill -KILL "$pid" 2>/dev/null || true
      wait_end "$pid" 5 || true
    }
  fi
  rm -f "$RUN/$1.pid"
}

# wait_end PID SECONDS: until that very process has ended.
wait_end() {
  local started deadline=$((SECONDS + $2))
  started="$(start_time "$1")" || return 0
  while [ "$(start_time "$1")" = "$started" ]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# python_tools NAME: what tools/NAME.requirements.txt pins, in a VENV of its own (.local/venv-NAME); made
# anew when the file changes, or when it was interrupted.
python_tools() {
  local requirements="tools/$1.requirements.txt"
  VENV="$LOCAL/venv-$1"
  if cmp -s "$requirements" "$VENV/installed.txt"; then return; fi
  say "installing what $requirements names into .local/venv-$1"
  rm -rf "$VENV"
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install -q --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$VENV/installed.txt"
}
