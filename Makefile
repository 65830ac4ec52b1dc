# Thin: what takes more than two lines is a script in tools/. Variables may be given behind the
# target or in the environment: CARGO_TARGET_DIR, DATABASE_URL, FLEET_PORT, FLEET_SANDBOX_PORT,
# FLEET_PG_PORT, FLEET_KAFKA_PORT, FLEET_MQTT_PORT, KAFKA_BROKERS, MQTT_URL; ARGS goes to cargo test, or
# to schemathesis.

.DEFAULT_GOAL := help
.PHONY: help run down migrate test kafka chaos api-test fuzz dashboards dashboards-test lint features packaging upgrade-test deny restore-test bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install, build, migrate and start everything; again: rebuild and restart
	@tools/local/run.sh

down: ## stop everything that was started here, and nothing else
	@tools/local/down.sh

migrate: ## migrate the local database only
	@tools/local/install.sh build postgres && tools/local/postgres.sh up
	@FLEET__DATABASE__URL="$$(tools/local/postgres.sh url)" cargo run --features sandbox -- migrate

kafka: ## a real single-node Kafka for `run` and `test` (without: an embedded one)
	@tools/local/kafka.sh up

test: ## all tests, against a local PostgreSQL (ARGS='name' for some; STALLS=2: threads stand still; AGAIN=3)
	@STALLS='$(STALLS)' AGAIN='$(AGAIN)' tools/local/test.sh $(ARGS)

chaos: ## seeded fault runs with real processes (SEEDS=3 SEED=1 DRIVERS=100000 ARGS=kills WRITE=1)
	@SEEDS='$(SEEDS)' SEED='$(SEED)' DRIVERS='$(DRIVERS)' WRITE='$(WRITE)' tools/chaos.sh $(ARGS)

api-test: ## schemathesis over the server's own OpenAPI
	@tools/api-test.sh $(ARGS)

fuzz: ## look for bytes that break a reader (SECONDS=60 for each; ARGS='phone' for some)
	@SECONDS_EACH='$(SECONDS)' tools/fuzz.sh $(ARGS)

dashboards: ## Grafana's dashboards, made of their descriptions (deploy/grafana/panels)
	@tools/local/install.sh python && tools/dashboards/generate.py

dashboards-test: ## every query of dashboards and alerts, asked of a real Prometheus
	@tools/dashboards-test.sh

lint: ## format, clippy, shellcheck, squawk, dashboards and alert rules, features
	@tools/lint.sh

features: ## every feature alone, all and none, without warnings
	@tools/features.sh

packaging: ## checks Dockerfile, compose.yaml, deploy/ and what the image holds (WRITE=1: writes deploy/kubernetes; BINARY=FILE)
	@WRITE='$(WRITE)' BINARY='$(BINARY)' tools/packaging/check.sh

upgrade-test: ## a rolling update from a former release, with real processes (BASE=GIT-REF; builds it)
	@BASE='$(BASE)' tools/upgrade.sh

deny: ## licences, sources and banned crates of the dependencies (slow the first time)
	@tools/deny.sh

restore-test: ## backup and restore, tried (CUSTOMERS=1000000)
	@CUSTOMERS='$(CUSTOMERS)' tools/restore-test.sh

bench: ## measure everything beside its limits (PART='customers kafka' for some, QUICK=1, WRITE=1)
	@PART='$(PART)' benches/run.sh
