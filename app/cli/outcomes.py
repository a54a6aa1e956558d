"""`conviction outcomes`: what became of the stocks that a running gateway's stored pairs are about."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from app.cli import client
from app.cli.batch import Progress
from app.cli.outcomes_text import NOT_SHOWN, text
from app.comparison.outcomes import Advice, Horizon, horizon, realised
from app.errors import InvalidSettings, MarketError
from app.market import open_provider
from app.settings.gateway import load_settings

PAGE = 500
LONGEST = 252
"""Sessions: a year."""
NEW_YORK = ZoneInfo("America/New_York")

EPILOG = """CONVICTION_URL and CONVICTION_API_KEY name the gateway, CONVICTION_MARKET and CONVICTION_MARKET_DIR where
bars come from. Exit status: 0 done, 1 the gateway or the market data failed, 2 wrong usage or settings, 3 the gateway
cannot be reached"""


def run(argv: Sequence[str]) -> int:
    """Reckon and print; the exit status."""
    options = parser().parse_args(argv)
    try:
        settings = load_settings()
        provider = open_provider(settings.market, settings.market_dir)
        advice = latest(pairs(options))
        progress = Progress(len({each.ticker for each in advice}))
        try:
            found = list(realised(advice, provider, options.horizon, lambda: progress.show(0)))
        finally:
            progress.end()
    except (InvalidSettings, client.Unreachable, client.Refused) as error:
        return client.told(error)
    except MarketError as error:
        print(f"conviction: market data: {error.detail}", file=sys.stderr)
        return 1
    told = [horizon(found, sessions, date.today()) for sessions in options.horizon]
    print(json.dumps(document(told, provider.name), indent=2) if options.json else text(told, provider.name))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="conviction outcomes",
        description="How often stored pairs' advice came true, beside how often it would have whatever was advised.",
        epilog=EPILOG,
    )
    top.add_argument(
        "--horizon", type=horizons, default=(5, 20), metavar="5d,20d", help="sessions from entry to end (%(default)s)"
    )
    top.add_argument("--tickers", metavar="A,B", help="of these stocks only")
    top.add_argument("--from", dest="start", metavar="DATE", help="asked since then")
    top.add_argument("--to", dest="end", metavar="DATE", help="asked before then")
    top.add_argument("--json", action="store_true", help="all of it, as JSON")
    return top


def horizons(given: str) -> tuple[int, ...]:
    """`5d,20d` as sessions."""
    found = [re.fullmatch(r"(\d{1,3})d?", part.strip()) for part in given.split(",")]
    sessions = [int(match[1]) if match else 0 for match in found]
    if not all(1 <= each <= LONGEST for each in sessions):
        raise argparse.ArgumentTypeError(f"must be sessions from 1d to {LONGEST}d, separated by commas")
    return tuple(sorted(set(sessions)))


def pairs(options: argparse.Namespace) -> Iterator[client.Json]:
    """All that the gateway keeps of what is asked for, the newest first. Raises as `client.call` does."""
    asked = {"limit": PAGE, "tickers": options.tickers, "from": options.start, "to": options.end}
    shared_calls: str | None = None
    while True:
        query = {name: value for name, value in {**asked, "cursor": shared_calls}.items() if value is not None}
        page = client.call("GET", f"/v1/comparisons?{urlencode(query)}")
        yield from page["pairs"]
        shared_calls = page["next"]
        if shared_calls is None:
            return


def latest(found: Iterable[client.Json]) -> list[Advice]:
    """What was last said of each stock and day, by backends that answered; pairs without a ticker tell nothing."""
    advice: dict[tuple[str, date], Advice] = {}
    for pair in found:
        if pair["ticker"] is not None:
            day = _day(pair)
            said = {
                name: (side["action"], side["conviction"])
                for name, side in pair["sides"].items()
                if side["action"] is not None
            }
            advice.setdefault((pair["ticker"], day), Advice(pair["ticker"], day, said))
    return list(advice.values())


def document(told: Sequence[Horizon], market: str) -> dict[str, Any]:
    return {"market": market, "horizons": [asdict(each) for each in told], "not_shown": NOT_SHOWN}


def _day(pair: client.Json) -> date:
    """The day of the metrics; where they do not say, the day in New York on which they were judged."""
    if pair["as_of"] is not None:
        return date.fromisoformat(pair["as_of"])
    return datetime.fromisoformat(pair["at"]).astimezone(NEW_YORK).date()
