# Two images. The gateway's, which is the last stage: without a GPU, a model, a compiler or PyTorch; vLLM runs in
# separate containers. And, with `--target training`, what makes the model. docs/how-to/build-images.md explains how to
# pin PYTHON_IMAGE by its digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv --without-pip /srv/venv
COPY requirements/gateway.txt requirements/
# Wheels alone: nothing is compiled, and no package runs code at installation.
RUN pip --python /srv/venv/bin/python install --no-cache-dir --only-binary :all: --no-deps --require-hashes \
        --requirement requirements/gateway.txt && \
    cd /srv/venv/lib/python3*/site-packages && \
    rm -r pandas/tests pyarrow/tests pyarrow/include pyarrow/*flight* $(find numpy -name tests)
COPY pyproject.toml README.md ./
COPY app app
RUN pip --python /srv/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation --no-index . && \
    pip --python /srv/venv/bin/python uninstall --quiet --yes setuptools
# What the served model says of itself, its price and capacity among it. Of one version: another is another image.
COPY model_store model_store
RUN version=$(cat model_store/current) && mkdir -p "/srv/model_store/$version" && \
    cp model_store/current /srv/model_store/ && cp -r "model_store/$version/." "/srv/model_store/$version/"


FROM ${PYTHON_IMAGE} AS training
# What is left out has to be elsewhere: `quantize` wants its own environment, and so does vLLM.
ARG ENVIRONMENTS="training quantise"
# cuda: PyTorch as PyPI has it; cpu: a build without CUDA, where one is to be had.
ARG TORCH=cuda
WORKDIR /srv
COPY pyproject.toml README.md ./
COPY requirements requirements
COPY app app
COPY training training
RUN for name in $ENVIRONMENTS; do \
        PIP_NO_CACHE_DIR=1 TORCH=$TORCH requirements/install "$name" ".envs/$name" || exit; \
    done
# The published versions, and the folders that stages write to.
COPY model_store model_store
RUN mkdir runs .models && chown -R 10001:10001 runs .models model_store
# Bars are mounted here; libraries write to /tmp.
ENV CONVICTION_MARKET_DIR=/srv/market \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
ENTRYPOINT ["/srv/.envs/training/bin/python", "-m", "training"]
CMD ["--help"]
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="conviction-training" \
      org.opencontainers.image.description="Bars to a published model: dataset, label, finetune, merge, quantize, publish." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM ${PYTHON_IMAGE} AS gateway
COPY --from=build /srv /srv
WORKDIR /srv
# Programs write only to /tmp, a separate file system where the root is read-only.
ENV PATH=/srv/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CONVICTION_ALLOW_ROOT=0 \
    CONVICTION_HOST=0.0.0.0 \
    CONVICTION_PORT=8080
# A user without a name, a home directory or privileges.
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import http.client, os; asked = http.client.HTTPConnection('127.0.0.1', int(os.environ['CONVICTION_PORT']), timeout=2); asked.request('GET', '/health/live'); raise SystemExit(asked.getresponse().status != 200)"]
CMD ["conviction", "serve"]
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="conviction" \
      org.opencontainers.image.description="Buy, sell or hold, and how sure: the gateway." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
