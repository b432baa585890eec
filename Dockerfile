# syntax=docker/dockerfile:1
#
# An image with the three programs of dse. See docs/container.md.
#
#   docker build -t dse .
#   docker run --rm -p 127.0.0.1:6379:6379 -v dse-data:/data dse

ARG RUST_VERSION=1.95.0
ARG DEBIAN_RELEASE=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN_RELEASE} AS build
ARG RUST_VERSION
# The image has this toolchain; rust-toolchain.toml would make rustup load rustfmt and clippy too.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
WORKDIR /src
COPY . .
# What was loaded and compiled before lies in caches, which are not part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin dse-server --bin dse-admin --bin dse-bench \
    && mkdir /programs \
    && cp target/release/dse-server target/release/dse-admin target/release/dse-bench /programs/

FROM debian:${DEBIAN_RELEASE}-slim
LABEL org.opencontainers.image.title="dse" \
      org.opencontainers.image.description="In-memory storage engine that speaks the Redis protocol" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
RUN groupadd --gid 10001 dse \
    && useradd --uid 10001 --gid dse --no-create-home --home-dir /data --shell /usr/sbin/nologin dse \
    && install --directory --owner dse --group dse --mode 0750 /data
COPY --from=build /programs/ /usr/local/bin/

# A container has a network of its own: who publishes the port decides who reaches the server.
# Publish it to other machines only with a password (DSE_REQUIREPASS).
ENV DSE_BIND=0.0.0.0 \
    DSE_DIR=/data \
    DSE_PORT=6379 \
    DSE_PROTECTED_MODE=no
USER 10001:10001
WORKDIR /data
VOLUME /data
# Clients; in a cluster also those that know where keys are, and other nodes.
EXPOSE 6379 11379 16379
# Not healthy while data is loaded: it answers then, but not to commands.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["sh", "-c", "dse-bench ping -p $DSE_PORT ${DSE_REQUIREPASS:+-a \"$DSE_REQUIREPASS\"}"]
ENTRYPOINT ["dse-server"]
