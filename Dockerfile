# syntax=docker/dockerfile:1
# docker build --build-arg FEATURES=fleet-customers -t fleet .
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
ARG FEATURES=fleet-customers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --features "${FEATURES}" \
    && cp target/release/fleet /usr/local/bin/fleet

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home fleet
COPY --from=build /usr/local/bin/fleet /usr/local/bin/fleet
USER 10001
ENV FLEET__HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["fleet"]
CMD ["serve"]
