# Thin: what takes more than two lines is a script in tools/. Variables may be given behind the
# target or in the environment: CARGO_TARGET_DIR, DATABASE_URL, FLEET_PORT, FLEET_SANDBOX_PORT,
# FLEET_PG_PORT, FLEET_KAFKA_PORT, FLEET_MQTT_PORT, KAFKA_BROKERS, MQTT_URL; ARGS goes to cargo test, or
# to schemathesis.

.DEFAULT_GOAL := help
.PHONY: help run down migrate test kafka chaos api-test fuzz lint features deny bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install, build, migrate and start everything; again: rebuild and restart
	@tools/local/run.sh

down: ## stop everything that was started here, and nothing else
	@tools/local/down.sh

migrate: ## migrate the local database only
	@tools/local/install.sh build postgres && tools/local/postgres.sh up
	@FLEET__DATABASE__URL="$$(tools/local/postgres.sh url)" cargo run --features sandbox -- migrate

kafka: ## a real single-node Kafka for `run` and `test` (without: an embedded one)
	@tools/local/kafka.sh up

test: ## all tests, against a local PostgreSQL (ARGS='name' for some)
	@tools/local/test.sh $(ARGS)

chaos: ## seeded fault runs with real processes (SEEDS=3 SEED=1 DRIVERS=100000 ARGS=kills)
	@SEEDS='$(SEEDS)' SEED='$(SEED)' DRIVERS='$(DRIVERS)' tools/chaos.sh $(ARGS)

api-test: ## schemathesis over the server's own OpenAPI
	@tools/api-test.sh $(ARGS)

fuzz: ## look for bytes that break a reader (SECONDS=60 for each; ARGS='phone' for some)
	@SECONDS_EACH='$(SECONDS)' tools/fuzz.sh $(ARGS)

lint: ## format, clippy, shellcheck, features
	@tools/lint.sh

features: ## every feature alone, all and none, without warnings
	@tools/features.sh

deny: ## licences, sources and banned crates of the dependencies (slow the first time)
	@tools/deny.sh

bench: ## measure throughput and latency
	@tools/local/install.sh build postgres wrk nginx && benches/run.sh

bench-%: ## one part alone: tasks, kafka, sending, directory, cabinets
	@tools/local/install.sh build postgres mosquitto && benches/$*.sh
