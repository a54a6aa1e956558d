# The gateway alone, without a GPU and without a model: vLLM runs in containers of its own.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /srv/venv
COPY requirements/gateway.txt requirements/gateway.txt
RUN /srv/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/gateway.txt
COPY pyproject.toml README.md ./
COPY app app
RUN /srv/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home conviction
COPY --from=build /srv/venv /srv/venv
# What the served models say of themselves: their price and capacity.
COPY model_store /srv/model_store
WORKDIR /srv
USER 10001
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CONVICTION_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
CMD ["conviction", "serve"]
