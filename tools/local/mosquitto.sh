#!/usr/bin/env bash
# mosquitto.sh up|down|url|status: an MQTT broker of this checkout's own, on loopback only, beside
# whatever else runs on the machine. With MQTT_URL set, that is used and nothing is started.
#
# The server's name there is fleet (password: fleet). FLEET_CABINETS cabinets (20) have the names
# cab-1, cab-2, ... and passwords cab-1-secret, ...; each may use its own topics only.
. "$(dirname "$0")/lib.sh"

HOST=127.0.0.1
DATA="$LOCAL/mosquitto"
PORT_FILE="$LOCAL/mosquitto.port"

url() { echo "${MQTT_URL:-mqtt://$HOST:$(cat "$PORT_FILE" 2>/dev/null || echo "${FLEET_MQTT_PORT:-18839}")}"; }

program() {
  local path
  for path in "$(command -v mosquitto || true)" /usr/sbin/mosquitto /usr/local/sbin/mosquitto; do
    if [ -x "$path" ]; then
      echo "$path"
      return
    fi
  done
  die "no Mosquitto found (tools/local/install.sh mosquitto)"
}

# Prints the broker's pid if the broker of our folder runs. Its name and its start time tell it from
# whatever has that number by now.
broker() {
  local pid started
  read -r pid started 2>/dev/null <"$DATA/pid" || return 1
  [ "$(start_time "$pid")" = "$started" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = mosquitto ] &&
    echo "$pid"
}

# Who may connect, and to what. Written anew each time: the number of cabinets may differ.
write_access() {
  local n
  (
    umask 077
    {
      echo fleet:fleet
      for ((n = 1; n <= ${FLEET_CABINETS:-20}; n++)); do echo "cab-$n:cab-$n-secret"; done
    } >"$DATA/users.new"
    mosquitto_passwd -U "$DATA/users.new"
    mv "$DATA/users.new" "$DATA/users"
    cat >"$DATA/access" <<'ACCESS'
user fleet
topic write cabinets/+/commands
topic read cabinets/+/events
pattern read cabinets/%u/commands
pattern write cabinets/%u/events
ACCESS
  )
}

up() {
  local port wanted pid deadline
  if [ -n "${MQTT_URL:-}" ]; then
    say "MQTT: MQTT_URL is set, using that"
    return
  fi
  mkdir -p "$DATA"
  write_access
  if pid="$(broker)"; then
    kill -HUP "$pid" # it reads the users again
    say "Mosquitto is up: $(url)"
    return
  fi
  wanted="${FLEET_MQTT_PORT:-$(cat "$PORT_FILE" 2>/dev/null || echo 18839)}"
  port="$(free_port "$wanted")"
  [ "$port" = "$wanted" ] || say "port $wanted is taken by something else: Mosquitto goes to $port"
  echo "$port" >"$PORT_FILE"
  # As root it would become a user who may not see our folder.
  cat >"$DATA/mosquitto.conf" <<CONF
listener $port $HOST
user $(id -un)
allow_anonymous false
password_file $DATA/users
acl_file $DATA/access
persistence false
# Without it every answer takes 40 ms longer.
set_tcp_nodelay true
max_queued_messages 20000
log_dest stderr
log_type error
log_type warning
log_type notice
CONF
  setsid "$(program)" -c "$DATA/mosquitto.conf" </dev/null >>"$LOG/mosquitto.log" 2>&1 &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$DATA/pid"
  deadline=$((SECONDS + 20))
  until port_taken "$port"; do
    start_time "$pid" >/dev/null || {
      tail -n 15 "$LOG/mosquitto.log" >&2
      die "Mosquitto did not start (see .local/log/mosquitto.log)"
    }
    ((SECONDS < deadline)) || die "Mosquitto does not answer on $HOST:$port (see .local/log/mosquitto.log)"
    sleep 0.1
  done
  say "Mosquitto is up: $(url)"
}

down() {
  local pid
  if pid="$(broker)"; then
    say "stopping Mosquitto (pid $pid)"
    kill -TERM "$pid" 2>/dev/null || true
    wait_end "$pid" 10 || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$DATA/pid"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  url) url ;;
  status)
    if pid="$(broker)"; then
      echo "up: pid $pid, $(MQTT_URL='' url)"
    else
      echo "down"
      exit 3
    fi
    ;;
  *) die "usage: $0 up|down|url|status" ;;
esac
