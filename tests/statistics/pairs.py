"""Records of pairs for tests of what they tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.comparison.pairs import Pair, Side
from app.comparison.records import RECORD, Origin
from app.comparison.versions import UNKNOWN_ONLY, Versions
from app.contract.prompt import Detail
from app.contract.recommendation import Action

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)


def side(action: Action | None, conviction: int = 5, **more: object) -> Side:
    """An answer, or without an action a failure."""
    given: dict[str, object] = {
        "total_ms": 1000.0,
        "ttft_ms": 200.0,
        "ms_per_token": 20.0,
        "input_tokens": 400,
        "cached_tokens": 100,
        "output_tokens": 41,
        "nano_usd": 1_000_000,
    }
    if action is None:
        return Side(failure="backend_error")
    return Side(action=action, conviction=conviction, **(given | more))  # type: ignore[arg-type]


def pair(
    mistral: Side,
    gpt4: Side,
    ticker: str | None = "AAPL",
    detail: Detail = "full",
    origin: Origin = "comparison",
    blind: bool | None = None,
) -> Pair:
    return Pair(UUID(int=0).hex, NOON, ticker, None, detail, origin, {"mistral": mistral, "gpt-4": gpt4}, blind)


def records(
    pairs: Iterable[Pair], versions: Versions = UNKNOWN_ONLY, apart: timedelta = timedelta(seconds=1)
) -> NDArray[np.void]:
    """As the store has them, a second or another time apart."""
    packed = []
    for place, each in enumerate(pairs):
        record = np.frombuffer(each.pack(), RECORD).copy()
        record["time_ms"] += int(place * apart / timedelta(milliseconds=1))
        for name, own in each.sides.items():
            record[f"{name}_version"] = versions.index(own.version)
        packed.append(record)
    return np.concatenate(packed) if packed else np.empty(0, RECORD)
