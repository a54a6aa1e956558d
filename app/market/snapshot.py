"""Computation of a stock's metrics at one close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime

import pandas as pd
from pydantic import BaseModel, ValidationError

from app.contract.features import PRICE_MAX, Metrics, Options, Technicals
from app.errors import InsufficientHistory
from app.market.bars import last_date
from app.market.history import DECIMALS, history_of
from app.market.indicators import compute_technicals
from app.market.option_statistics import compute_option_statistics
from app.market.provider import Chain, ExpiryScope, Provider
from app.market.sessions import session_on_or_before, sessions_since
from app.market.simulation import SEED, simulate_chain
from app.market.source import MAX_AGE_SESSIONS, LookUp, MetricsSource, OptionSource, Snapshot


def take_snapshot(
    provider: Provider,
    ticker: str,
    as_of: date | None = None,
    options: OptionSource = "provider",
    *,
    expiries: ExpiryScope = "nearest",
    seed: int = SEED,
    now: datetime | None = None,
) -> Snapshot:
    """Return the metrics of a stock at its last close on or before `as_of`; blocks while the provider fetches."""
    bars = provider.bars(ticker, as_of)
    return snapshot_of(bars, provider, ticker, as_of, options, expiries=expiries, seed=seed, now=now)


def look_up(provider: Provider, ticker: str, as_of: date | None, options: OptionSource, now: datetime) -> LookUp:
    """Return the same metrics, and the bars that charts show."""
    bars = provider.bars(ticker, as_of)
    return LookUp(snapshot_of(bars, provider, ticker, as_of, options, now=now), history_of(bars))


def snapshot_of(
    bars: pd.DataFrame,
    provider: Provider,
    ticker: str,
    as_of: date | None,
    options: OptionSource,
    *,
    expiries: ExpiryScope = "nearest",
    seed: int = SEED,
    now: datetime | None = None,
) -> Snapshot:
    """Return the metrics of a stock at the last of its bars; blocks while the provider fetches a chain."""
    indicators = _technicals(ticker, bars)
    chain = _chain(provider, ticker, as_of, bars, options, seed)
    statistics, excluded = ({}, {}) if chain is None else compute_option_statistics(chain, expiries)
    metrics, beyond_bounds = _metrics(bars, statistics, indicators)
    fetched_at = now or datetime.now(UTC)
    age_sessions = sessions_since(last_date(bars), as_of, fetched_at)
    source = MetricsSource(
        provider=provider.name,
        simulated=["options"] if chain is not None and chain.simulated else [],
        fetched_at=fetched_at,
        age_s=0.0,
        as_of_age_sessions=age_sessions,
        stale=age_sessions > MAX_AGE_SESSIONS,
        excluded=excluded | beyond_bounds,
    )
    return Snapshot(ticker=ticker.upper(), metrics=metrics, source=source)


def _metrics(
    bars: pd.DataFrame, statistics: Mapping[str, float], indicators: Mapping[str, float]
) -> tuple[Metrics, dict[str, int]]:
    """Return the contract's metrics, and a count of 1 for each metric that is out of bounds."""
    close = {"price": round(float(bars["close"].iloc[-1]), DECIMALS)}
    price, beyond_price = (close, {}) if 0 < close["price"] <= PRICE_MAX else ({}, {"price": 1})
    options, beyond_options = _within_bounds(Options, statistics)
    accepted, beyond = _within_bounds(Technicals, indicators)
    document = {"as_of": last_date(bars), **price, "options": options, "technicals": accepted}
    return Metrics.model_validate(document), beyond_price | beyond_options | beyond


def _technicals(ticker: str, bars: pd.DataFrame) -> dict[str, float]:
    try:
        return {name: round(value, DECIMALS) for name, value in compute_technicals(bars).items()}
    except InsufficientHistory as error:
        raise InsufficientHistory(f"{ticker.upper()}: {error.detail}") from None


def _chain(
    provider: Provider, ticker: str, as_of: date | None, bars: pd.DataFrame, options: OptionSource, seed: int
) -> Chain | None:
    if options == "none":
        return None
    if options == "simulated":
        return simulate_chain(ticker.upper(), bars, seed)
    chain = provider.chain(ticker, as_of)
    return None if chain is None else _at_close(chain, last_date(bars))


def _at_close(chain: Chain, close: date) -> Chain | None:
    """Return the chain without the contracts that expired at the close; None if it is not of that session."""
    if session_on_or_before(chain.as_of) != session_on_or_before(close):
        return None
    expiry = pd.to_datetime(chain.contracts["expiry"])
    return replace(chain, contracts=chain.contracts[expiry >= pd.Timestamp(close) + pd.Timedelta(days=1)])


def _within_bounds(group: type[BaseModel], values: Mapping[str, float]) -> tuple[dict[str, float], dict[str, int]]:
    """Return the values that the contract accepts, and a count of 1 for each that it rejects."""
    accepted = dict(values)
    beyond: dict[str, int] = {}
    try:
        group.model_validate(accepted)
    except ValidationError as invalid:
        for error in invalid.errors():
            name = str(error["loc"][0]) if error["loc"] else ""
            if accepted.pop(name, None) is not None:
                beyond[name] = 1
    return accepted, beyond
