#!/usr/bin/env bash
# postgres.sh up|down|url|status: a PostgreSQL of this checkout's own, on loopback only, beside
# whatever else runs on the machine. With DATABASE_URL set, that is used and nothing is started.
. "$(dirname "$0")/lib.sh"

HOST=127.0.0.1
PORT_FILE="$LOCAL/postgres.port"

# --- as whom, where, with which binaries ---------------------------------------------------------

# PostgreSQL refuses to run as root. Whoever runs it works from /: it may not see our folder.
pg_user="$(id -un)"
if ((EUID == 0)); then
  pg_user=postgres
  id -u "$pg_user" >/dev/null 2>&1 || pg_user=nobody
fi
as_pg() {
  if ((EUID == 0)); then
    (cd / && exec setpriv --reuid "$pg_user" --regid "$(id -g "$pg_user")" --init-groups -- "$@")
  else
    (cd / && exec "$@")
  fi
}

# A checkout in, say, /root cannot be entered by that user: the data then lie under /var/tmp.
DATA="$LOCAL/postgres"
if ! as_pg test -x "$LOCAL"; then
  DATA="/var/tmp/fleet-$(printf %s "$ROOT" | sha256sum | cut -c 1-12)"
fi

# The newest server installed, unless the data were made by another that is still there.
pg_bin() {
  local version dir
  version="$(cat "$DATA/PG_VERSION" 2>/dev/null || true)"
  for dir in "/usr/lib/postgresql/${version:-none}/bin" \
    "$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)" \
    "$(dirname "$(command -v initdb || true)")"; do
    if [ -x "$dir/initdb" ]; then
      echo "$dir"
      return
    fi
  done
  die "no PostgreSQL server binaries found (tools/local/install.sh postgres)"
}

url() { echo "${DATABASE_URL:-postgres://fleet:fleet@$HOST:$(cat "$PORT_FILE" 2>/dev/null || echo "${FLEET_PG_PORT:-54329}")/fleet}"; }

# --- what runs -------------------------------------------------------------------------------------

# Every process of a cluster has the data folder as its working folder: true of no other program.
in_data() {
  local proc
  for proc in /proc/[0-9]*; do
    if [ "$(readlink "$proc/cwd" 2>/dev/null)" = "$DATA" ] &&
      [ "$(cat "$proc/comm" 2>/dev/null)" = postgres ]; then
      echo "${proc#/proc/}"
    fi
  done
}

# Prints the server's pid if the server of our data folder runs.
server() {
  local pid
  read -r pid 2>/dev/null <"$DATA/postmaster.pid" || return 1
  in_data | grep -x "$pid"
}

# After `kill -9` of the server its children may live on for a while and hold the data; and the pid
# in the file it left may by now be somebody else's, for which PostgreSQL would refuse to start.
clear_leftovers() {
  local pid deadline=$((SECONDS + 20))
  for pid in $(in_data); do
    kill -QUIT "$pid" 2>/dev/null || true
  done
  while [ -n "$(in_data)" ]; do
    ((SECONDS < deadline)) || die "processes of a former server still use $DATA: $(in_data | xargs)"
    sleep 0.1
  done
  rm -f "$DATA/postmaster.pid"
}

# --- verbs -----------------------------------------------------------------------------------------

make_cluster() {
  local password
  say "making a PostgreSQL cluster in $DATA"
  # No PG_VERSION: what is there is the rest of an initdb that was interrupted.
  rm -rf "$DATA"
  mkdir -m 700 "$DATA"
  if ((EUID == 0)); then chown "$pg_user:" "$DATA"; fi
  # A file, for initdb takes no password from a pipe of another user's.
  password="$(as_pg mktemp)"
  echo fleet | as_pg tee "$password" >/dev/null
  # `fleet` is a superuser here: the tests make and drop databases. C.UTF-8 is in every glibc.
  if ! as_pg "$BIN/initdb" -D "$DATA" -U fleet --pwfile="$password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 >"$LOG/initdb.log" 2>&1; then
    tail -n 15 "$LOG/initdb.log" >&2
    rm -rf "$DATA"
    die "initdb failed (see .local/log/initdb.log)"
  fi
  rm -f "$password"
  # Durability is left on. No Unix socket: its default folder is the machine's, not ours.
  cat >>"$DATA/postgresql.conf" <<CONF
listen_addresses = '$HOST'
unix_socket_directories = ''
max_connections = 300
# What the benchmark loads fits; memory is taken only as it is used.
shared_buffers = 1GB
# So that whole statements show in pg_stat_activity.
track_activity_query_size = 16384
CONF
}

up() {
  local port wanted
  if [ -n "${DATABASE_URL:-}" ]; then
    say "PostgreSQL: DATABASE_URL is set, using that"
    return
  fi
  BIN="$(pg_bin)"
  if server >/dev/null; then
    port="$(sed -n 4p "$DATA/postmaster.pid")"
    echo "$port" >"$PORT_FILE"
    if [ -n "${FLEET_PG_PORT:-}" ] && [ "$FLEET_PG_PORT" != "$port" ]; then
      say "PostgreSQL is up on $port already; 'make down' first to move it to $FLEET_PG_PORT"
    fi
  else
    # /var/tmp is everybody's: what lies there under our name may have been put there.
    if [ -L "$DATA" ] || { [ -e "$DATA" ] && [ "$(stat -c %U "$DATA")" != "$pg_user" ]; }; then
      die "$DATA is not a folder of user $pg_user: move it away, then run this again"
    fi
    [ -s "$DATA/PG_VERSION" ] || make_cluster
    clear_leftovers
    wanted="${FLEET_PG_PORT:-$(cat "$PORT_FILE" 2>/dev/null || echo 54329)}"
    port="$(free_port "$wanted")"
    [ "$port" = "$wanted" ] || say "port $wanted is taken by something else: PostgreSQL goes to $port"
    echo "$port" >"$PORT_FILE"
    if [ "$DATA" != "$LOCAL/postgres" ]; then
      say "user $pg_user cannot enter $LOCAL: the data are in $DATA"
      echo "$DATA" >"$LOCAL/postgres.data"
    fi
    # We open the log, so $pg_user need not be able to.
    as_pg "$BIN/pg_ctl" start -w -t 60 -D "$DATA" -o "-p $port" </dev/null >>"$LOG/postgres.log" 2>&1 || {
      tail -n 15 "$LOG/postgres.log" >&2
      die "PostgreSQL did not start (see .local/log/postgres.log)"
    }
  fi
  await "$port"
  if ! sql "$port" -Atc "SELECT 1 FROM pg_database WHERE datname = 'fleet'" | grep -q 1; then
    sql "$port" -qc 'CREATE DATABASE fleet'
  fi
  say "PostgreSQL is up: $(url)"
}

sql() { PGPASSWORD=fleet "$BIN/psql" -X -h "$HOST" -p "$1" -U fleet -d postgres "${@:2}"; }

await() {
  local deadline=$((SECONDS + 60))
  until "$BIN/pg_isready" -q -h "$HOST" -p "$1" -t 2; do
    ((SECONDS < deadline)) || die "PostgreSQL does not answer on $HOST:$1 (see .local/log/postgres.log)"
    sleep 0.2
  done
}

down() {
  local pid
  if pid="$(server)"; then
    say "stopping PostgreSQL (pid $pid)"
    kill -INT "$pid" # "fast": ends sessions, writes a checkpoint
    # "immediate" next, and no KILL: that would leave its children behind.
    wait_end "$pid" 20 || { kill -QUIT "$pid" && wait_end "$pid" 10; } || die "PostgreSQL (pid $pid) does not stop"
  fi
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  url) url ;;
  status)
    if pid="$(server)"; then
      echo "up: pid $pid, $(DATABASE_URL='' url), data in $DATA"
    else
      echo "down"
      exit 3
    fi
    ;;
  psql) # psql ARGS...: of the same server, for other scripts
    BIN="$(pg_bin)"
    exec "$BIN/psql" -X "$(url)" "${@:2}"
    ;;
  *) die "usage: $0 up|down|url|status|psql" ;;
esac
