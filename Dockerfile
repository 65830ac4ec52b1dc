# syntax=docker/dockerfile:1
# All domains: docker build -t fleet .
# Some:        docker build --build-arg FEATURES=fleet-customers,fleet-orders-manager -t fleet .
# Stand-ins:   docker build --build-arg FEATURES=default,sandbox -t fleet-sandbox .
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS chef
# For librdkafka, which is built with the rest; certificates and time zones go into the image.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates g++ libssl-dev make pkg-config tzdata \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install cargo-chef --locked --version 0.1.78
WORKDIR /src

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
ARG FEATURES=default
COPY --from=planner /src/recipe.json recipe.json
# The dependencies are a layer of their own: it stays as long as they do.
RUN cargo chef cook --release --locked --no-default-features --features "${FEATURES}" --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --no-default-features --features "${FEATURES}" \
    && tools/packaging/image-root.sh target/release/fleet /image && mkdir /state

FROM scratch
COPY --from=build /image /
# The only folder that it may write: stand-ins' state, dumps of caches. Volumes take its owner over.
COPY --from=build --chown=10001:10001 /state /var/lib/fleet
USER 10001:10001
ENV FLEET__HTTP__LISTEN=0.0.0.0:8080 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 8080
# Whether it lives; a domain that waits for its database is no reason to restart it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/fleet", "probe"]
ENTRYPOINT ["/usr/local/bin/fleet"]
CMD ["serve"]
