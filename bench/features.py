"""Features of 1,000 tickers at one close, side by side with pandas-ta-classic in one run.

python bench/features.py [--market FOLDER] [--as-of DAY] [--rounds N] [--sample N]

Tickers of the folder (CONVICTION_MARKET_DIR), in turn until there are 1,000. Bars and simulated chains are made
beforehand; what is timed is what is made of them. pandas-ta-classic, by the calls that the tests hold the
indicators to, is timed on a sample of the tickers and compared a ticker, in the same round; its own indicators
as well as those it leaves to TA-Lib. Option statistics it has none, so its time is of the indicators alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time

import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.market import InsufficientHistory  # noqa: E402 - the repository need not be installed
from app.market.indicators import compute_technicals  # noqa: E402
from app.market.option_statistics import compute_option_statistics  # noqa: E402
from app.market.parquet import ParquetProvider  # noqa: E402
from app.market.provider import Chain  # noqa: E402
from app.market.simulation import simulate_chain  # noqa: E402
from tests.market.oracle import oracle  # noqa: E402

TICKERS = 1000
GOAL = 10

Stock = tuple[pd.DataFrame, Chain]


def stocks(market: Path, as_of: date) -> list[Stock]:
    """Return bars and a chain of every ticker with enough history, repeated up to `TICKERS` entries."""
    provider = ParquetProvider(market)
    found: list[Stock] = []
    for ticker in provider.tickers():
        try:
            bars = provider.bars(ticker, as_of)
            compute_technicals(bars)
            found.append((bars, simulate_chain(ticker, bars)))
        except InsufficientHistory:
            continue
    if not found:
        raise SystemExit(f"no ticker in {market} has history enough on {as_of}")
    print(f"{len(found)} tickers of {market} on {as_of}, in turn until there are {TICKERS}")
    return list(itertools.islice(itertools.cycle(found), TICKERS))


def milliseconds(work: Callable[[Stock], object], on: Sequence[Stock]) -> float:
    """Return the CPU time a ticker: each side uses one thread, and other programs do not count."""
    began = process_time()
    for stock in on:
        work(stock)
    return 1000 * (process_time() - began) / len(on)


OURS: dict[str, Callable[[Stock], object]] = {
    "indicators": lambda stock: compute_technicals(stock[0]),
    "indicators and option statistics": lambda stock: (
        compute_technicals(stock[0]),
        compute_option_statistics(stock[1]),
    ),
}
THEIRS: dict[str, Callable[[Stock], object]] = {
    "pandas-ta-classic": lambda stock: oracle(stock[0]),
    "pandas-ta-classic with TA-Lib": lambda stock: oracle(stock[0], talib=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--market", type=Path, default=os.environ.get("CONVICTION_MARKET_DIR", "../shared/market"))
    parser.add_argument("--as-of", type=date.fromisoformat, default=date(2017, 3, 1))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=50, help="tickers a round for pandas-ta-classic")
    options = parser.parse_args()
    every = stocks(Path(options.market), options.as_of)
    sample = every[:: max(1, len(every) // options.sample)][: options.sample]
    for work in THEIRS.values():
        work(every[0])
    rounds = []
    for _ in range(options.rounds):
        taken = {name: milliseconds(work, every) for name, work in OURS.items()}
        rounds.append(taken | {name: milliseconds(work, sample) for name, work in THEIRS.items()})
    for name in (*OURS, *THEIRS):
        count = len(every if name in OURS else sample)
        print(f"{name:<34} {median(one[name] for one in rounds):7.3f} ms a ticker, {count} tickers a round")
    for slow, quick in itertools.product(THEIRS, OURS):
        ratios = sorted(one[slow] / one[quick] for one in rounds)
        spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f} in {len(rounds)} rounds"
        print(f"{quick}: {median(ratios):.1f} times as fast as {slow} ({spread}; goal {GOAL})")


if __name__ == "__main__":
    main()
