"""Groups of pairs by what they have in common: detail, models, ticker, sector, day, conviction and more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.comparison.records import BLINDS, DETAILS, EPOCH, NO_ACTION, ORIGINS, Records, select, sides_of
from app.comparison.sectors import NAME, Sectors
from app.comparison.statistics.hits import BUCKETS
from app.comparison.versions import Version, Versions
from app.contract.completion import ALL_BACKENDS, BackendName
from app.contract.features import normalized_ticker
from app.errors import InvalidRequest

Dimension = Literal[
    "detail", "origin", "blind", "ticker", "sector", "day", "prompt_version", "mistral_model", "gpt4_model",
    "mistral_conviction", "gpt4_conviction", "mistral_probability", "gpt4_probability",
    "candidate_model", "candidate_conviction", "candidate_probability",
]  # fmt: skip
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
MAX_DIMENSIONS, MAX_GROUPS = 3, 500
NO_SECTORS = f"can be sector only with {NAME}, which this gateway does not have"
DAY_MS = 86_400_000
PROBABILITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
"""The bounds between buckets of the probability of a side's own action."""
PROBABILITY_LABELS = (
    f"below {PROBABILITIES[0]}",
    *(f"{low} to {high}" for low, high in zip(PROBABILITIES, (*PROBABILITIES[1:], 1), strict=True)),
)

Label = str | None
Labelled = tuple[NDArray[Any], Sequence[Label]]
"""The index of each record's label, and the labels. None is unknown."""


def groups(
    records: Records, by: Sequence[Dimension], versions: Versions, sectors: Sectors | None = None
) -> Iterator[tuple[dict[Dimension, Label], Records]]:
    """Yield each group's labels and records, in the order of the labels.

    Raises `InvalidRequest` for too many groups, and for groups by sector without sectors.
    """
    if "sector" in by and sectors is None:
        raise InvalidRequest(f"group_by {NO_SECTORS}", fields=[("group_by", NO_SECTORS)])
    if not len(records):
        return
    labelled = LABELS | {"sector": lambda records, _: _sectors(records, sectors or {})}
    indices, labels = zip(*(labelled[dimension](records, versions) for dimension in by), strict=True)
    shape = tuple(map(len, labels))
    codes, owner = np.unique(np.ravel_multi_index(indices, shape), return_inverse=True)
    if len(codes) > MAX_GROUPS:
        problem = f"gives {len(codes):,} groups of these pairs: at most {MAX_GROUPS} are reported; select fewer pairs"
        raise InvalidRequest(f"group_by {problem}", fields=[("group_by", problem)])
    for group, code in enumerate(codes):
        of_code = zip(by, labels, np.unravel_index(code, shape), strict=True)
        yield {dimension: names[index] for dimension, names, index in of_code}, select(records, owner == group)


def _tickers(records: Records, _: Versions) -> Labelled:
    names, index = np.unique(records["ticker"], return_inverse=True)
    return index, [name.decode() or None for name in names]


def _sectors(records: Records, sectors: Sectors) -> Labelled:
    tickers, index = np.unique(records["ticker"], return_inverse=True)
    of_tickers = [sectors.get(normalized_ticker(ticker.decode()), "") for ticker in tickers]
    names, sector = np.unique(of_tickers, return_inverse=True)
    return sector[index], [str(name) or None for name in names]


def _days(records: Records, _: Versions) -> Labelled:
    days, index = np.unique(records["time_ms"] // DAY_MS, return_inverse=True)
    return index, [(EPOCH + timedelta(int(day))).isoformat() for day in days]


def _models(backend: BackendName, records: Records, versions: Versions) -> Labelled:
    return _versioned(records[f"{backend}_version"], [version.model if version else None for version in versions])


def _prompt_versions(records: Records, versions: Versions) -> Labelled:
    """Both sides of a pair have the same version of the prompt; one that failed has none."""
    one, other = (records[f"{name}_version"] for name in sides_of(records.dtype))
    names = [version.prompt_version if version else None for version in versions]
    return _versioned(np.where(one, one, other), names)


def _versioned(numbers: NDArray[Any], names: Sequence[Label]) -> Labelled:
    labels = list(dict.fromkeys(names))
    return np.array([labels.index(name) for name in names])[numbers], labels


def _convictions(backend: BackendName, records: Records, _: Versions) -> Labelled:
    return np.digitize(records[backend]["conviction"], [low for low, _ in BUCKETS.values()]), (None, *BUCKETS)


def _probabilities(backend: BackendName, records: Records, _: Versions) -> Labelled:
    side = records[backend]
    own = np.take_along_axis(side["probabilities"], np.maximum(side["action"], 0).astype(np.intp)[:, None], 1)[:, 0]
    known = np.isfinite(own) & (side["action"] != NO_ACTION)
    bucket = 1 + np.digitize(own.astype(np.float64).round(6), PROBABILITIES)  # rounded: 0.9 is stored as 0.8999999762
    return np.where(known, bucket, 0), (None, *PROBABILITY_LABELS)


LABELS: dict[str, Callable[[Records, Versions], Labelled]] = {
    "detail": lambda records, _: (records["detail"], DETAILS),
    "origin": lambda records, _: (records["origin"], ORIGINS),
    "blind": lambda records, _: (records["blind"], [None if blind is None else str(blind).lower() for blind in BLINDS]),
    "ticker": _tickers,
    "day": _days,
    "prompt_version": _prompt_versions,
    **{
        f"{name.replace('-', '')}_{what}": partial(labels, name)
        for name in ALL_BACKENDS
        for what, labels in (("model", _models), ("conviction", _convictions), ("probability", _probabilities))
    },
}


def version_counts(records: Records, backend: BackendName, versions: Versions) -> dict[Version | None, int]:
    """Return the number of pairs by the version that answered a side."""
    counts = np.bincount(records[f"{backend}_version"], minlength=len(versions))
    return {version: int(count) for version, count in zip(versions, counts, strict=True) if count}
