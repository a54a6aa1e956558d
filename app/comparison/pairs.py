"""The stored form of a pair of answers: a fixed-size record without texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from app.comparison.versions import UNKNOWN_ONLY, Version, Versions
from app.contract.completion import BACKEND_NAMES, CANDIDATE, INCUMBENT, BackendName
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS, Action

Origin = Literal["comparison", "shadow"]
"""Whether a client asked both backends, or a shadow copy asked the second one."""

ORIGINS: tuple[Origin, ...] = get_args(Origin)
DETAILS: tuple[Detail, ...] = get_args(Detail)
NO_TICKER, NO_DAY, NO_ACTION, NO_COUNT = b"", -(2**31), -1, 2**16 - 1
MAX_TOKENS = 2**32 - 1
EPOCH = date(1970, 1, 1)

Records = NDArray[np.void]

Sides = tuple[BackendName, BackendName]
"""The two backends of a pair, the one that others are measured against last."""
SIDES: tuple[Sides, ...] = (BACKEND_NAMES, (CANDIDATE, INCUMBENT), (CANDIDATE, "gpt-4"))

FAILURES = (
    *("", "internal_error", "client_gone", "unknown_backend", "unauthorized", "forbidden", "not_found"),
    *("method_not_allowed", "conflict", "idempotency_conflict", "too_large", "unsupported_media_type"),
    *("invalid_request", "invalid_metrics", "rate_limited", "budget_exceeded", "unknown_ticker"),
    *("insufficient_history", "market_data_unavailable", "market_data_rate_limited", "backend_error"),
    *("unparsed_answer", "backend_unavailable", "deadline_exceeded", "overloaded", "store_unavailable"),
    *("decision_log_unavailable", "feedback_conflict"),
)
"""Error codes; empty for none. Records store the index, so new codes are appended."""
UNKNOWN, UNKNOWN_INDEX = "unknown", 2**8 - 1
"""A code that this version of the gateway does not know."""

SIDE = np.dtype(
    [
        ("failure", "u1"),
        ("action", "i1"),
        ("conviction", "u1"),
        ("stand_in", "u1"),
        ("figures", "<u2"),
        ("unsupported", "<u2"),
        ("probabilities", "<f4", (len(ACTIONS),)),
        ("total_ms", "<f4"),
        ("ttft_ms", "<f4"),
        ("ms_per_token", "<f4"),
        ("input_tokens", "<u4"),
        ("cached_tokens", "<u4"),
        ("output_tokens", "<u4"),
        ("nano_usd", "<i8"),
    ]
)
HEAD = (("time_ms", "<i8"), ("id", "V16"), ("ticker", "S10"), ("as_of", "<i4"), ("detail", "u1"), ("origin", "u1"))
RECORDS = {
    sides: np.dtype(
        [
            *HEAD,
            *((name, SIDE) for name in sides),
            ("blind", "u1"),
            *((f"{name}_version", "<u2") for name in sides),
        ]
    )
    for sides in SIDES
}
"""The same form for all, with fields named after the sides. The time is first: the store overwrites it with its own.
`blind` is an index of BLINDS. The store assigns the numbers of versions, and keeps the fields from `blind` on apart, as
zeros for pairs that earlier gateways stored."""
RECORD = RECORDS[BACKEND_NAMES]
EXTRAS = 1 + 2 * len(BACKEND_NAMES)
"""Bytes of the fields from `blind` on."""
MAIN = RECORD.itemsize - EXTRAS
BLINDS = (None, False, True)


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
            FAILURES.index(self.failure or "") if (self.failure or "") in FAILURES else UNKNOWN_INDEX,
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
                round(1000 * self.at.timestamp()),
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


def sides_of(form: np.dtype[Any]) -> Sides:
    """Return the two backends of records."""
    names = form.names or ()
    return cast(Sides, names[len(HEAD) : len(HEAD) + 2])


def failure_code(index: int) -> str | None:
    """Return the error code of a record's index; None for no error."""
    return FAILURES[index] or None if index < len(FAILURES) else UNKNOWN


def join(main: bytes, extras: bytes, sides: Sides = BACKEND_NAMES) -> Records:
    """Return the records of a chunk from its two parts in the store; missing extras are zeros."""
    rows = np.zeros((len(main) // MAIN, RECORD.itemsize), np.uint8)
    rows[:, :MAIN] = np.frombuffer(main, np.uint8).reshape(-1, MAIN)
    given = np.frombuffer(extras, np.uint8).reshape(-1, EXTRAS)[: len(rows)]
    rows[: len(given), MAIN:] = given
    return rows.reshape(-1).view(RECORDS[sides])


def split(records: Records) -> tuple[bytes, bytes]:
    """Return both parts of a chunk."""
    rows = records.view(np.uint8).reshape(-1, RECORD.itemsize)
    return rows[:, :MAIN].tobytes(), rows[:, MAIN:].tobytes()


def concatenate(parts: Sequence[Records], sides: Sides = BACKEND_NAMES) -> Records:
    """Return one array of all records, which have these sides."""
    # Viewed as opaque bytes: numpy copies structured records field by field while it holds the GIL.
    form = RECORDS[sides]
    return np.concatenate([part.view(_opaque(form)) for part in parts]).view(form) if parts else np.empty(0, form)


def select(records: Records, mask: NDArray[np.bool_]) -> Records:
    """Return the records, or sides of records, that a mask selects."""
    return records if mask.all() else records.view(_opaque(records.dtype))[mask].view(records.dtype)


def moment(time_ms: int) -> datetime:
    """Convert milliseconds since 1970 to a UTC time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)


def _opaque(form: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"V{form.itemsize}")


def _count(number: int | None) -> int:
    return NO_COUNT if number is None else min(number, NO_COUNT - 1)


def _optional(number: float) -> float | None:
    return None if np.isnan(number) else _short(number)


def _short(number: float) -> float:
    return float(f"{number:.7g}")
