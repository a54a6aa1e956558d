"""A pair of answers, as it is stored: without texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Self, cast

import numpy as np

from app.comparison.failure_codes import failure_code, failure_index
from app.comparison.records import (
    BLINDS,
    DETAILS,
    EPOCH,
    NO_ACTION,
    NO_COUNT,
    NO_DAY,
    ORIGINS,
    RECORDS,
    SIDES,
    Origin,
    Sides,
    milliseconds,
    moment,
    sides_of,
)
from app.comparison.versions import UNKNOWN_ONLY, Version, Versions
from app.contract.completion import BackendName
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS, Action

MAX_TOKENS = 2**32 - 1


@dataclass(frozen=True)
class Side:
    """One backend's answer, or the code of its error. Times are in milliseconds.

    `input_tokens` include the tokens from the backend's cache.
    """

    failure: str | None = None
    action: Action | None = None
    conviction: int | None = None
    probabilities: Mapping[Action, float] | None = None
    total_ms: float | None = None
    ttft_ms: float | None = None
    ms_per_token: float | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0
    figures: int | None = None
    """The number of figures in the analysis; None without an analysis."""
    unsupported: int | None = None
    """The number of figures that the metrics do not support."""
    stand_in: bool = False
    version: Version | None = None
    """None for an error, and for pairs that earlier gateways stored."""

    def values(self) -> tuple[Any, ...]:
        """Return the fields of a `SIDE` record."""
        given = self.probabilities
        return (
            failure_index(self.failure),
            NO_ACTION if self.action is None else ACTIONS.index(self.action),
            self.conviction or 0,
            self.stand_in,
            _count(self.figures),
            _count(self.unsupported),
            [given[action] if given else np.nan for action in ACTIONS],
            *(np.nan if time is None else time for time in (self.total_ms, self.ttft_ms, self.ms_per_token)),
            *(min(tokens, MAX_TOKENS) for tokens in (self.input_tokens, self.cached_tokens, self.output_tokens)),
            self.nano_usd,
        )

    @classmethod
    def of(cls, record: np.void, version: Version | None = None) -> Self:
        """Read a `SIDE` record; times and probabilities are rounded to seven digits."""
        values = cast(tuple[Any, ...], record.item())
        failure, action, conviction, stand_in, figures, unsupported, probabilities, *rest = values
        total, first, per_token, tokens_in, cached, tokens_out, nano_usd = rest
        return cls(
            failure=failure_code(failure),
            action=None if action == NO_ACTION else ACTIONS[action],
            conviction=conviction or None,
            probabilities=(
                None if np.isnan(probabilities[0]) else dict(zip(ACTIONS, map(_short, probabilities), strict=True))
            ),
            total_ms=_optional(total),
            ttft_ms=_optional(first),
            ms_per_token=_optional(per_token),
            input_tokens=tokens_in,
            cached_tokens=cached,
            output_tokens=tokens_out,
            nano_usd=nano_usd,
            figures=None if figures == NO_COUNT else figures,
            unsupported=None if unsupported == NO_COUNT else unsupported,
            stand_in=bool(stand_in),
            version=version,
        )


@dataclass(frozen=True)
class Pair:
    """Two backends' answers to one question. `id` is 32 hex digits; `at` is the store's time once stored."""

    id: str
    at: datetime
    ticker: str | None
    as_of: date | None
    detail: Detail
    origin: Origin
    sides: Mapping[BackendName, Side]
    blind: bool | None = None
    """Whether the ticker was omitted from the prompt; None for pairs that earlier gateways stored."""

    def pack(self) -> bytes:
        """Return the record as bytes, without the numbers of versions."""
        record = np.array(
            (
                milliseconds(self.at),
                bytes.fromhex(self.id),
                (self.ticker or "").encode(),
                NO_DAY if self.as_of is None else (self.as_of - EPOCH).days,
                DETAILS.index(self.detail),
                ORIGINS.index(self.origin),
                *(self.sides[name].values() for name in self.names),
                BLINDS.index(self.blind),
                *(0 for _ in self.sides),
            ),
            RECORDS[self.names],
        )
        return record.tobytes()

    @classmethod
    def of(cls, record: np.void, versions: Versions = UNKNOWN_ONLY) -> Self:
        """Read a record."""
        return cls(
            id=record["id"].tobytes().hex(),
            at=moment(int(record["time_ms"])),
            ticker=record["ticker"].decode() or None,
            as_of=None if record["as_of"] == NO_DAY else EPOCH + timedelta(int(record["as_of"])),
            detail=DETAILS[record["detail"]],
            origin=ORIGINS[record["origin"]],
            sides={name: Side.of(record[name], versions[record[f"{name}_version"]]) for name in sides_of(record.dtype)},
            blind=BLINDS[record["blind"]],
        )

    @property
    def names(self) -> Sides:
        return next(names for names in SIDES if set(names) == set(self.sides))

    @property
    def agree(self) -> bool | None:
        """Whether the actions are equal; None if one is missing."""
        one, other = (side.action for side in self.sides.values())
        return None if one is None or other is None else one == other


def _count(number: int | None) -> int:
    return NO_COUNT if number is None else min(number, NO_COUNT - 1)


def _optional(number: float) -> float | None:
    return None if np.isnan(number) else _short(number)


def _short(number: float) -> float:
    return float(f"{number:.7g}")
