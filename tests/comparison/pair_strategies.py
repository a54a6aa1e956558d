"""Any pair that can be stored."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import strategies as st

from app.comparison.failure_codes import FAILURES
from app.comparison.pairs import Pair, Side
from app.comparison.records import BLINDS, DETAILS, ORIGINS
from app.contract.completion import BACKEND_NAMES
from app.contract.recommendation import ACTIONS

TIMES = st.none() | st.floats(0, 1e6, width=32).map(lambda number: float(f"{number:.7g}"))
TOKENS = st.integers(0, 10**6)
SHARES = st.sampled_from([None, (1.0, 0.0, 0.0), (0.25, 0.5, 0.25)])
SIDES = st.builds(Side, failure=st.sampled_from(FAILURES[1:])) | st.builds(
    Side,
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
    probabilities=SHARES.map(lambda shares: dict(zip(ACTIONS, shares, strict=True)) if shares else None),
    total_ms=TIMES,
    ttft_ms=TIMES,
    ms_per_token=TIMES,
    input_tokens=TOKENS,
    cached_tokens=TOKENS,
    output_tokens=TOKENS,
    nano_usd=st.integers(0, 10**15),
    figures=st.none() | st.integers(0, 1000),
    unsupported=st.none() | st.integers(0, 1000),
    stand_in=st.booleans(),
)
PAIRS = st.builds(
    Pair,
    id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
        lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
    ),
    ticker=st.none() | st.from_regex(r"[A-Z0-9][A-Z0-9.\-]{0,9}", fullmatch=True),
    as_of=st.none() | st.dates(date(1970, 1, 1), date(2100, 1, 1)),
    detail=st.sampled_from(DETAILS),
    origin=st.sampled_from(ORIGINS),
    sides=st.fixed_dictionaries(dict.fromkeys(BACKEND_NAMES, SIDES)),
    blind=st.sampled_from(BLINDS),
)
