#!/usr/bin/env bash
# kafka.sh up|down|brokers|lib|status: a single-node Apache Kafka of this checkout's own, on loopback only.
# With KAFKA_BROKERS set, that is used and nothing is started. `up` ends with 4 where Kafka cannot be
# had (Maven Central cannot be reached): callers may go on without.
. "$(dirname "$0")/lib.sh"

HOST=127.0.0.1
HOME_DIR="$LOCAL/kafka"
DATA="$HOME_DIR/data"
PORT_FILE="$HOME_DIR/port"
CANNOT=4

# What is already fetched is kept for as long as the list of what is needed stays the same.
fetch() {
  local wanted
  wanted="$(sha256sum <tools/local/kafka/pom.xml)"
  [ "$(cat "$HOME_DIR/fetched" 2>/dev/null)" != "$wanted" ] || return 0
  tools/local/install.sh java
  say "fetching Apache Kafka (43 MB) from Maven Central"
  rm -rf "${HOME_DIR:?}/lib"
  if ! timeout 600 mvn -B -q -f tools/local/kafka/pom.xml dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$HOME_DIR/lib" </dev/null >"$LOG/kafka-fetch.log" 2>&1; then
    say "Kafka could not be fetched (see .local/log/kafka-fetch.log)"
    exit "$CANNOT"
  fi
  echo "$wanted" >"$HOME_DIR/fetched"
}

# The classes, with little memory and few words.
kafka() {
  java -Xms64m -Xmx384m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp "$HOME_DIR/lib/*" "$@"
}

write_properties() {
  cat >"$HOME_DIR/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=$HOST:$2
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://$HOST:$1,CONTROLLER://$HOST:$2
advertised.listeners=PLAINTEXT://$HOST:$1,CONTROLLER://$HOST:$2
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$DATA
num.partitions=4
num.network.threads=2
num.io.threads=4
log.segment.bytes=16777216
log.retention.bytes=268435456
log.cleaner.dedupe.buffer.size=16777216
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=true
CONF
}

# Asks which versions it speaks (ApiVersions 0, the one question without a version): the port is open
# before anything answers on it.
answers() {
  (
    exec 3<>"/dev/tcp/$HOST/$1"
    printf '\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff' >&3
    [ "$(timeout 3 head -c 8 <&3 | wc -c)" -eq 8 ]
  ) 2>/dev/null
}

brokers() { echo "${KAFKA_BROKERS:-$(running kafka >/dev/null && echo "$HOST:$(cat "$PORT_FILE")")}"; }

# Where its classes are; nothing where they were not fetched.
lib() { if [ -e "$HOME_DIR/fetched" ]; then echo "$HOME_DIR/lib"; fi; }

up() {
  local port controller deadline
  if [ -n "${KAFKA_BROKERS:-}" ]; then
    say "Kafka: KAFKA_BROKERS is set, using that"
    return
  fi
  if running kafka >/dev/null; then
    say "Kafka is up: $(brokers)"
    return
  fi
  mkdir -p "$HOME_DIR"
  fetch
  port="$(free_port "${FLEET_KAFKA_PORT:-19092}")"
  controller="$(free_port $((port + 1)))"
  # Topics live as long as the broker: a fresh start is quick, and tests leave theirs behind.
  rm -rf "$DATA"
  write_properties "$port" "$controller"
  echo "$port" >"$PORT_FILE"
  kafka kafka.tools.StorageTool format -t "$(kafka kafka.tools.StorageTool random-uuid)" \
    -c "$HOME_DIR/server.properties" --standalone --ignore-formatted >"$LOG/kafka-format.log" 2>&1 ||
    { tail -n 15 "$LOG/kafka-format.log" >&2; die "Kafka's storage could not be made"; }
  say "starting Kafka on $port"
  launch kafka java -Xms64m -Xmx384m -XX:+UseSerialGC \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp "$HOME_DIR/lib/*" kafka.Kafka "$HOME_DIR/server.properties"
  deadline=$((SECONDS + 90))
  until answers "$port"; do
    running kafka >/dev/null || show_log_and_die kafka "Kafka ended before it answered"
    ((SECONDS < deadline)) || show_log_and_die kafka "Kafka did not answer on $port in time"
    sleep 0.3
  done
  say "Kafka is up: $(brokers)"
}

case "${1:-}" in
  up) up ;;
  down) stop kafka ;;
  brokers) brokers ;;
  lib) lib ;;
  status)
    if pid="$(running kafka)"; then
      echo "up: pid $pid, $(KAFKA_BROKERS='' brokers)"
    else
      echo "down"
      exit 3
    fi
    ;;
  *) die "usage: $0 up|down|brokers|lib|status" ;;
esac
