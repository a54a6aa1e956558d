"""`conviction outcomes`: later returns of the stocks in a running gateway's stored pairs."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from itertools import chain
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from app.cli import streams
from app.cli.client import Json, call
from app.cli.outcomes_text import NOT_SHOWN, text
from app.cli.progress import Progress
from app.cli.rows import add_output, csv_line
from app.comparison.outcomes import BENCHMARK, Advice, Horizon, horizon, realised
from app.comparison.statistics.hits import Hits
from app.contract.completion import BackendName
from app.errors import MarketError
from app.market import open_provider
from app.settings.gateway import load_settings

PAGE = 500
MAX_SESSIONS = 252
"""A year."""
NEW_YORK = ZoneInfo("America/New_York")

EPILOG = """CONVICTION_URL and CONVICTION_API_KEY name the gateway, CONVICTION_MARKET and CONVICTION_MARKET_DIR the
source of bars. Exit status: 0 success, 1 the gateway or the market data failed, 2 wrong usage or settings, 3 the
gateway cannot be reached"""


def run(argv: Sequence[str]) -> int:
    """Compute and print the outcomes. Raises as `call` does, and `InvalidSettings`."""
    options = parser().parse_args(argv)
    settings = load_settings()
    try:
        provider = open_provider(settings.market, settings.market_dir)
        advice = latest(pairs(options))
        progress = Progress(len({each.ticker for each in advice}))
        try:
            returns = list(realised(advice, provider, options.horizon, progress.advance))
        finally:
            progress.end()
    except MarketError as error:
        streams.note(f"conviction: market data: {error.detail}")
        return 1
    horizons = [horizon(returns, sessions, date.today()) for sessions in options.horizon]
    match options.output:
        case "json":
            results = [asdict(each) for each in horizons]
            document = {"market": provider.name, "benchmark": BENCHMARK, "horizons": results, "not_shown": NOT_SHOWN}
            streams.write(json.dumps(document, indent=2))
        case "csv":
            streams.write(*map(csv_line, table_of(horizons)))
        case _:
            streams.write(text(horizons, provider.name))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="conviction outcomes",
        description="The hit rate of stored pairs' advice, compared with the same actions on all stocks, and its "
        "return before costs, compared with buying the same stocks and SPY.",
        epilog=EPILOG,
    )
    top.add_argument(
        "--horizon",
        type=parse_horizons,
        default=(5, 20),
        metavar="5d,20d",
        help="sessions from entry to exit (%(default)s)",
    )
    top.add_argument("--tickers", metavar="A,B", help="these stocks only")
    top.add_argument("--from", dest="start", metavar="DATE", help="pairs from this time on")
    top.add_argument("--to", dest="end", metavar="DATE", help="pairs before this time")
    add_output(top, ("table", "json", "csv"), "table")
    return top


def parse_horizons(text: str) -> tuple[int, ...]:
    """Return `5d,20d` as numbers of sessions."""
    matches = [re.fullmatch(r"(\d{1,3})d?", part.strip()) for part in text.split(",")]
    sessions = [int(match[1]) if match else 0 for match in matches]
    if not all(1 <= each <= MAX_SESSIONS for each in sessions):
        raise argparse.ArgumentTypeError(f"must be sessions from 1d to {MAX_SESSIONS}d, separated by commas")
    return tuple(sorted(set(sessions)))


def table_of(horizons: Sequence[Horizon]) -> Iterator[Iterable[Any]]:
    """Yield the names of the columns, then a row per group of advice; an estimate has three columns."""
    estimates = ("hit_rate", "base_rate", "lead", "mean_return", "signed_return", "benchmark_return")
    plain = [field.name for field in fields(Hits) if field.name not in estimates]
    yield ("sessions", *plain, *(f"{name}{end}" for name in estimates for end in ("", "_low", "_high")))
    for each in horizons:
        for group in each.hits:
            found = (getattr(group, name) for name in estimates)
            cells = [(one.value, one.low, one.high) if one else (None, None, None) for one in found]
            yield (each.sessions, *(getattr(group, name) for name in plain), *chain.from_iterable(cells))


def pairs(options: argparse.Namespace) -> Iterator[Json]:
    """Yield the gateway's stored pairs, the newest first."""
    query = {"limit": PAGE, "tickers": options.tickers, "from": options.start, "to": options.end, "cursor": None}
    while True:
        given = {name: value for name, value in query.items() if value is not None}
        page = call("GET", f"/v1/comparisons?{urlencode(given)}")
        yield from page["pairs"]
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def latest(newest_first: Iterable[Json]) -> list[Advice]:
    """Return each backend's latest advice per stock and day. Pairs without a ticker and failed sides are left out."""
    answers: dict[tuple[str, date], dict[BackendName, Json]] = {}
    for pair in newest_first:
        for name, side in pair["sides"].items():
            if pair["ticker"] is not None and side["action"] is not None:
                answers.setdefault((pair["ticker"], _day(pair)), {}).setdefault(name, side)
    return [
        Advice(
            *(ticker, day),
            {name: (side["action"], side["conviction"]) for name, side in sides.items()},
            {name: side["probabilities"] for name, side in sides.items() if side["probabilities"] is not None},
        )
        for (ticker, day), sides in answers.items()
    ]


def _day(pair: Json) -> date:
    """Return the day of the metrics or, if that is unknown, the day in New York of the request."""
    if pair["as_of"] is not None:
        return date.fromisoformat(pair["as_of"])
    return datetime.fromisoformat(pair["at"]).astimezone(NEW_YORK).date()
