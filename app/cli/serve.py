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
from app.serving.loop_lag import LoopLag
from app.serving.server import Server, bind_sockets
from app.serving.start_errors import StartErrors
from app.serving.upgrades import HttpProtocol
from app.settings.gateway import load_settings
from app.settings.secrets import known_secrets
from app.telemetry.logs import log_config

ROOT = (
    "the gateway runs as root, which the image does not allow: leave out `--user` (the image's own is 10001) or name "
    "another than 0; CONVICTION_ALLOW_ROOT=1 allows root"
)


def run(argv: Sequence[str]) -> int:
    """Serve until a signal stops it. Raises `InvalidSettings`, and the error that prevents the start."""
    parser().parse_args(argv)
    settings = load_settings()
    if os.geteuid() == 0 and not settings.allow_root:
        raise InvalidSettings(ROOT)
    drain, lag = Drain(), LoopLag()
    app = StartErrors(create_app(settings, drain=drain, lag=lag))
    logging.config.dictConfig(log_config(known_secrets()))
    config = uvicorn.Config(
        app,
        interface="asgi3",
        host=settings.host,
        port=settings.port,
        http=HttpProtocol.with_lag(lag, settings.backend_timeout_s),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=int(settings.backend_timeout_s) + 5,
    )
    try:
        Server(config, drain, settings.drain_s).run(bind_sockets(config))
    except SystemExit:  # uvicorn's, after a start that failed
        if app.error is None:
            raise
        raise app.error from None
    return 0


def parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog="conviction serve", description=__doc__)
