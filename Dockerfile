# syntax=docker/dockerfile:1
# All domains: docker build -t fleet .
# Some:        docker build --build-arg FEATURES=fleet-customers,fleet-orders-manager -t fleet .
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
# For librdkafka, which is built with the rest: deptrans-driver-status-integration.
RUN apt-get update && apt-get install -y --no-install-recommends g++ libssl-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
ARG FEATURES=default
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --features "${FEATURES}" \
    && cp target/release/fleet /usr/local/bin/fleet

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home fleet
COPY --from=build /usr/local/bin/fleet /usr/local/bin/fleet
USER 10001
ENV FLEET__HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["fleet"]
CMD ["serve"]
