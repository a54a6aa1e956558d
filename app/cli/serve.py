"""`conviction serve`: the gateway in this process."""

from __future__ import annotations

import argparse
import logging.config
import os
from collections.abc import Sequence

import uvicorn

from app.errors import InvalidSettings
from app.main import create_app
from app.serving.drain import Drain
from app.serving.load_shedding import LoadSheddingProtocol
from app.serving.loop_lag import LoopLag
from app.serving.server import Server, bind_sockets
from app.settings.gateway import load_settings
from app.telemetry.logs import log_config

ROOT = (
    "the gateway runs as root, which the image does not allow: leave out `--user` (the image's own is 10001) or name "
    "another than 0; CONVICTION_ALLOW_ROOT=1 allows root"
)


def run(argv: Sequence[str]) -> int:
    """Serve until a signal stops it. Raises `InvalidSettings`."""
    argparse.ArgumentParser(prog="conviction serve", description=__doc__).parse_args(argv)
    settings = load_settings()
    if os.geteuid() == 0 and not settings.allow_root:
        raise InvalidSettings(ROOT)
    drain, lag = Drain(), LoopLag()
    app = create_app(settings, drain=drain, lag=lag)
    secrets = (settings.openai_api_key, settings.redis_url, settings.redis_password)
    logging.config.dictConfig(log_config(secret.get_secret_value() for secret in secrets if secret))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=LoadSheddingProtocol.with_lag(lag),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.backend_timeout_s) + 5,
    )
    Server(config, drain, settings.drain_s).run(bind_sockets(config))
    return 0
