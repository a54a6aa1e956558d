"""`conviction stand-in`: the stand-in as a server process."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import uvicorn

from app.stand_in.server import DEFAULT_KEY, create_stand_in, default_models


def run(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted, then return 0."""
    options = parser().parse_args(argv)
    app = create_stand_in(
        key=options.key, models=options.model or (), seconds_per_token=options.latency_ms_per_token / 1000
    )
    url = f"http://{options.host}:{options.port}/v1"
    print(f"stand-in at {url}", flush=True)
    print(f"  for both backends: OPENAI_BASE_URL={url} OPENAI_API_KEY={options.key} CONVICTION_VLLM_URLS={url}")
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", ws="none")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction stand-in",
        description="An OpenAI-style server whose answers are the rule-based analyst's, never a model's.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8070)
    parser.add_argument("--key", default=DEFAULT_KEY, help="the API key that clients must send (default: %(default)s)")
    parser.add_argument(
        "--model",
        action="append",
        help=f"an id to serve, repeatable (default: {' and '.join(default_models())})",
    )
    parser.add_argument("--latency-ms-per-token", type=float, default=0.0, metavar="MS")
    return parser
