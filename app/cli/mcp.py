"""`conviction mcp`: a running gateway as tools of the Model Context Protocol."""

from __future__ import annotations

import argparse
import logging.config
from collections.abc import Sequence

from app.cli import streams
from app.errors import InvalidSettings
from app.settings.client import ClientSettings
from app.settings.loading import load
from app.settings.secrets import known_secrets
from app.telemetry.logs import log_config

SDK = ("mcp", "mcp_types")
MISSING = "conviction mcp needs the MCP SDK, which is optional: install conviction[mcp]"

EPILOG = """CONVICTION_URL names the gateway. Over standard input and output, requests have the key in
CONVICTION_API_KEY; over HTTP, each has the key that its client sent, and CONVICTION_API_KEY is not used."""


def run(argv: Sequence[str]) -> int:
    """Serve until the client closes standard input, or over HTTP until a signal. Raises `InvalidSettings`."""
    options = parser().parse_args(argv)
    settings = load(ClientSettings)
    logging.config.dictConfig(log_config(known_secrets()))  # before the SDK configures logging
    try:
        from app.mcp.server import PATH, mcp_server, serve_http
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SDK:
            raise
        raise InvalidSettings(MISSING) from None
    if options.http is None:
        mcp_server(settings.url, settings.api_key).run()
    else:
        streams.note(f"MCP server at http://127.0.0.1:{options.http}{PATH}, for the gateway at {settings.url}")
        serve_http(settings.url, options.http, options.allow_host)
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction mcp",
        description="Serve a running gateway's tools to a language model, with the Model Context Protocol: over "
        "standard input and output, or over HTTP at /mcp.",
        epilog=EPILOG,
    )
    parser.add_argument("--http", type=port, metavar="PORT", help="serve on this port of 127.0.0.1")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name of a reverse proxy that forwards to the port, repeatable",
    )
    return parser


def port(text: str) -> int:
    """Return the number of a TCP port."""
    if not (text.isdecimal() and 0 < int(text[:9]) < 65536):
        raise argparse.ArgumentTypeError("must be a port from 1 to 65535")
    return int(text)
