# docker build -t appliance .                       for an NVIDIA GPU
# docker build -t appliance:cpu --build-arg TORCH=cpu --build-arg PIP_EXTRA_INDEX_URL=… .
# The CPU image needs an index that has the CPU build of torch: PyTorch has its own (see Get started
# on pytorch.org); without it the build stops.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH=cuda
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
COPY requirements/${TORCH}.txt /tmp/lock.txt
# pip compiles here: nobody can do it later in an image that is read-only.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps -r /tmp/lock.txt \
    && if [ "${TORCH}" = cpu ] && ! /opt/venv/bin/python -c \
        'import sys, torch; sys.exit(torch.version.cuda is not None)'; then \
        echo "This index has only the CUDA build of torch: set PIP_EXTRA_INDEX_URL." >&2; exit 1; \
    fi
COPY . /opt/appliance
ENV APPLIANCE_HOME=/opt/appliance/home
RUN echo /opt/appliance > "$(echo /opt/venv/lib/python3.*/site-packages)/appliance.pth" \
    && /opt/venv/bin/python -m compileall -q /opt/appliance/appliance \
    && /opt/venv/bin/python -m appliance.model.embedded

FROM ${BASE}
ARG TORCH=cuda
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="appliance" \
    org.opencontainers.image.description="A single-GPU fine-tuning appliance that does not forget silently" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}-${TORCH}" \
    org.opencontainers.image.revision="${REVISION}"
# gcc, libc6-dev and python3-dev: Triton compiles a small launcher when training starts.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates gcc libc6-dev python3 python3-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/appliance /opt/appliance
ENV PATH=/opt/venv/bin:$PATH \
    APPLIANCE_HOME=/opt/appliance/home \
    APPLIANCE_IMAGE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /workspace
ENTRYPOINT ["/opt/appliance/entrypoint.sh"]
CMD ["--help"]
