"""Options that several stages share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

DEFAULT_CONFIG = Path(__file__).parents[1] / "configs" / "default.toml"


def folders(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        parser.add_argument(name, type=Path, required=True)


def market(parser: argparse.ArgumentParser) -> None:
    folder = Path(os.environ.get("CONVICTION_MARKET_DIR", "../shared/market"))
    text = "folder of ohlcv*.parquet files; by default CONVICTION_MARKET_DIR"
    parser.add_argument("--market", type=Path, default=folder, help=text)


def models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=Path(".models"), help="folder of the weights")


def interpreters(parser: argparse.ArgumentParser) -> None:
    for name, environment in (("training", "training"), ("quantize", "quantise"), ("vllm", "vllm")):
        parser.add_argument(f"--{name}-python", type=Path, default=Path(f".envs/{environment}/bin/python"))


def store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, default=Path("model_store"))


def hourly(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--usd-per-hour", type=Decimal, default=Decimal("0.10"),
        help="hourly price of the serving machine (0.10, an assumption)",
    )  # fmt: skip


def target(parser: argparse.ArgumentParser, version: str | None) -> None:
    parser.add_argument("--store", type=Path, help="model store; by default the config's")
    parser.add_argument("--version", default=version, required=version is None)
    hourly(parser)
    parser.add_argument(
        "--override", action="append", default=[], metavar="NAME",
        help="accept a failed check, such as min_agreement.full; repeatable, recorded in manifest and card",
    )  # fmt: skip


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return int(text)

    return number
