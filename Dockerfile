# The images of sed-serve, built by BuildKit (Docker 23 or newer, or Podman). deploy/container.md says how they are run.
#
#   docker build -t sed-serve:cpu .
#   docker build -t sed-serve:cuda --target cuda .
#   deploy/image cpu          the same with the labels of the checked-out commit

# Bases are pinned by tag. Who needs the same bytes for ever gives digests: --build-arg RUST=rust:1.95-slim-bookworm@sha256:…
ARG RUST=rust:1.95-slim-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot
# A checkpoint that becomes part of the image, as a path in this folder, such as models/sed-b/sed-b.safetensors. Without
# one, the program serves the small model that it carries, or what SED_MODEL names in a volume.
ARG MODEL=

# One tool chain and one set of paths: the same sources give the same program. Both targets share what they compile.
# The allocator's C source writes the time of its compilation into the program; SOURCE_DATE_EPOCH is the time it gets.
FROM ${RUST} AS base
RUN mkdir -p /volumes/sed-serve
WORKDIR /src
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    SOURCE_DATE_EPOCH=0 \
    RUSTFLAGS="--remap-path-prefix=/src=sed-serve --remap-path-prefix=/usr/local/cargo/registry/src=crates"

FROM base AS sources
COPY Cargo.toml Cargo.lock ./
COPY proto proto
COPY crates crates
COPY tests tests
COPY models/sed-tiny models/sed-tiny
COPY playground/dist playground/dist

FROM sources AS build-cpu
# The program runs on any x86-64: its kernels look at the processor when it starts. Cargo compares times: what another
# checkout left in the cache may be younger than these sources, so they are made the youngest.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=sed-serve-target,target=/src/target,sharing=locked \
    find crates playground proto tests models -type f -exec touch {} + \
    && cargo build --release --locked -p sed-serve \
    && install -D target/release/sed-serve /out/sed-serve

FROM base AS cuda-tools
# g++ is what nvcc calls for the host's part; compiler and libraries of CUDA come from PyPI.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-tools AS build-cuda
COPY --from=sources /src /src
COPY deploy/cuda deploy/cuda
ENV SED_CUDA_TOOLKIT=/opt/cuda/toolkit
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=sed-serve-cuda-toolkit,target=/opt/cuda,sharing=locked \
    --mount=type=cache,id=sed-serve-target,target=/src/target,sharing=locked \
    variables=$(deploy/cuda/toolkit) \
    && eval "$variables" \
    && find crates playground proto tests models -type f -exec touch {} + \
    && cargo build --release --locked -p sed-serve --features sed-serve/cuda \
    && install -D target/release/sed-serve /out/sed-serve

# What the program opens once there is a driver. The driver itself comes from the host, through its container toolkit.
FROM cuda-tools AS cuda-libraries
ARG CUBLAS=13.0.2.14
ARG CURAND=10.4.0.35
RUN set -eu; \
    python3 -m pip download --no-cache-dir --no-deps --dest /wheels "nvidia-cublas==$CUBLAS" "nvidia-curand==$CURAND"; \
    for wheel in /wheels/*.whl; do python3 -m zipfile -e "$wheel" /unpacked; done; \
    mkdir -p /out/lib64 /out/licenses; \
    for name in libcublas.so.13 libcublasLt.so.13 libcurand.so.10; do mv "/unpacked/nvidia/cu13/lib/$name" /out/lib64/; done; \
    for text in /unpacked/*/licenses/License.txt; do cp "$text" "/out/licenses/$(basename "${text%%-*}").txt"; done; \
    rm -r /wheels /unpacked

# What both images have, with the weights of MODEL or without: no shell, no package manager, and nothing that needs to be written.
FROM ${RUNTIME} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="sed-serve" \
      org.opencontainers.image.description="Open-vocabulary semantic segmentation over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"
# A volume that is mounted here for the first time belongs to the server's user.
COPY --from=base --chown=65532:65532 /volumes /var/cache/
COPY LICENSE /usr/share/doc/sed-serve/LICENSE
ENV SED_LISTEN=0.0.0.0:50051 \
    SED_OPS_LISTEN=0.0.0.0:9464
USER 65532:65532
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --retries=3 CMD ["/usr/local/bin/sed-serve", "health"]
ENTRYPOINT ["/usr/local/bin/sed-serve"]
CMD ["serve"]

FROM runtime AS runtime-with-model
ARG MODEL
COPY --chmod=0444 ${MODEL} /baked/${MODEL}
ENV SED_MODEL=/baked/${MODEL}

# hadolint ignore=DL3006
FROM runtime${MODEL:+-with-model} AS cuda
COPY --from=cuda-libraries /out/licenses /usr/share/doc/cuda
COPY --from=cuda-libraries /out/lib64 /usr/local/cuda/lib64
COPY --from=build-cuda /out/sed-serve /usr/local/bin/sed-serve
# The last two folders are where some hosts put their driver.
ENV LD_LIBRARY_PATH=/usr/local/cuda/lib64:/usr/local/nvidia/lib64:/usr/local/nvidia/lib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# hadolint ignore=DL3006
FROM runtime${MODEL:+-with-model} AS cpu
COPY --from=build-cpu /out/sed-serve /usr/local/bin/sed-serve
