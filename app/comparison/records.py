"""The fixed-size record of a pair, which holds no texts, and arrays of records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from app.contract.completion import BACKEND_NAMES, CANDIDATE, INCUMBENT, BackendName
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS

Origin = Literal["comparison", "shadow"]
"""Whether a client asked both backends, or a shadow copy asked the second one."""

ORIGINS: tuple[Origin, ...] = get_args(Origin)
DETAILS: tuple[Detail, ...] = get_args(Detail)
NO_DAY, NO_ACTION, NO_COUNT = -(2**31), -1, 2**16 - 1
EPOCH = date(1970, 1, 1)

Records = NDArray[np.void]

Sides = tuple[BackendName, BackendName]
"""The two backends of a pair, the one that others are measured against last."""
SIDES: tuple[Sides, ...] = (BACKEND_NAMES, (CANDIDATE, INCUMBENT), (CANDIDATE, "gpt-4"))

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


def sides_of(form: np.dtype[Any]) -> Sides:
    """Return the two backends of records."""
    names = form.names or ()
    return cast(Sides, names[len(HEAD) : len(HEAD) + 2])


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


def milliseconds(time: datetime) -> int:
    """Convert a time to milliseconds since 1970."""
    return round(1000 * time.timestamp())


def _opaque(form: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"V{form.itemsize}")
