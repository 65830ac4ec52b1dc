#!/usr/bin/env bash
# `make dashboards-test`: a server with all domains, stand-ins and a real Prometheus that scrapes it; then
# every query of every dashboard and of every alert rule must find something. What is asked of counters
# in alerts must be there before the first event, so it is asked before any call.
. "$(dirname "$0")/local/lib.sh"

DATA="$LOCAL/dashboards"

tools/local/install.sh build postgres mosquitto python prometheus
cargo build --features sandbox
test_world dashboards-test 18680
prometheus_port="$(free_port 19080)"
prometheus="http://127.0.0.1:$prometheus_port"
# Gauges that are looked up now and then.
export FLEET__SCOOTER_ACCUMULATOR__GAUGES_MS=1000
export FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION__SUPPLY__QUEUE_MS=1000
export FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION__SUPPLY__SUPPLY_MS=1000

rm -rf "$DATA"
mkdir -p "$DATA"
sed "s/HOST:PORT/${base#http://}/; s,RULES,$ROOT/deploy/prometheus/rules," >"$DATA/prometheus.yml" <<'CONF'
global: { scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s }
rule_files: ["RULES/*.yml"]
scrape_configs:
  - job_name: fleet
    static_configs: [{ targets: ["HOST:PORT"] }]
CONF

start_stand_ins --mqtt-url "$FLEET__MQTT__URL" --seed-customers "$base" --seed-cabinets "$base" \
  --drivers 2000 --city-drivers 200
FLEET__KAFKA__BROKERS="$(curl -fsS --noproxy '*' "$sandbox/__sandbox/kafka/brokers" |
  sed -n 's/.*"brokers":"\([^"]*\)".*/\1/p')"
export FLEET__KAFKA__BROKERS
start "$WORLD-prometheus" "$prometheus/-/ready" 30 \
  prometheus --config.file="$DATA/prometheus.yml" --storage.tsdb.path="$DATA/data" \
  --web.listen-address="127.0.0.1:$prometheus_port" --log.level=warn
start_server
wait_for_line "$WORLD-sandbox" 'example cabinets were added' 60

export NO_PROXY=127.0.0.1
tools/dashboards/evaluate.py "$base" "$sandbox" "$prometheus"
