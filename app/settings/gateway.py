"""The gateway's settings. Those of backends, store, decision log, budgets and traces are in modules of their names."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.settings.addresses import is_loopback
from app.settings.backends import BackendSettings
from app.settings.budgets import BudgetSettings
from app.settings.canary import CanarySettings
from app.settings.decision_log import DecisionLogSettings
from app.settings.loading import load
from app.settings.tracing import TracingSettings

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PerMinute = Annotated[int, Field(gt=0, le=10**8)]
UsdPerDay = Annotated[Decimal, Field(ge=0, le=10**6, allow_inf_nan=False)]


class Settings(BackendSettings, DecisionLogSettings, BudgetSettings, TracingSettings, CanarySettings):
    """The gateway's settings."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    market: Literal["yfinance", "parquet", "sample"] = "yfinance"
    """Source of market data: Yahoo Finance, a folder of Parquet files, or a sample of five tickers."""
    market_dir: Path | None = None
    """Folder with ohlcv*.parquet, for the parquet market."""
    market_options: Literal["provider", "simulated", "none"] = "provider"
    """Option statistics: the provider's, simulated from the bars, or none."""
    market_fallback: Literal["sample", "dated-sample"] | None = None
    """The market served instead of yfinance where that cannot be reached at start-up; dated-sample: only for requests
    with as_of, others are refused. `conviction up` sets dated-sample by default."""
    market_fresh_s: Seconds = 60.0
    """Age from which a ticker's metrics are fetched again."""
    market_stale_s: Seconds = 86400.0
    """Age up to which metrics are used, marked as stale, while the source is unavailable."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on."""
    drain_s: Seconds = 3.0
    """Time after SIGTERM in which the gateway is not ready but accepts requests, until load balancers notice."""
    keep_alive_s: Annotated[int, Field(gt=0, le=86400)] = 75
    """Time for which an idle connection stays open. It must exceed the load balancer's (60 s is usual), which otherwise
    sends a request into a connection that is being closed."""
    allow_root: bool = True
    """Serve as root; the image sets this to false."""
    api_keys_file: Path | None = None
    """File of name:key lines, each an admin's key. Required to listen on an address other than loopback."""
    open_docs: bool = True
    """Serve /docs and /openapi.json without a key; false: only with one."""
    key_requests_per_minute: PerMinute | None = None
    """Requests a minute of a key without its own limit; None: no limit."""
    key_tokens_per_minute: PerMinute | None = None
    """Tokens a minute of a key without its own limit; None: no limit."""
    key_usd_per_day: UsdPerDay | None = None
    """USD a day of a key without its own limit; None: no limit."""
    mistral_requests_per_minute: PerMinute | None = None
    """Requests a minute to mistral over all keys; None: no limit."""
    mistral_tokens_per_minute: PerMinute | None = None
    """Tokens a minute of mistral over all keys; None: no limit."""
    mistral_usd_per_day: UsdPerDay | None = None
    """USD a day of mistral over all keys; None: no limit."""
    gpt4_requests_per_minute: PerMinute | None = None
    """Requests a minute to gpt-4 over all keys; None: no limit."""
    gpt4_tokens_per_minute: PerMinute | None = None
    """Tokens a minute of gpt-4 over all keys; None: no limit."""
    gpt4_usd_per_day: UsdPerDay | None = None
    """USD a day of gpt-4 over all keys; None: no limit."""
    batch_max_concurrency: Annotated[int, Field(gt=0)] = 16
    """Items of a batch that are answered concurrently."""
    cache_s: Seconds = 3600.0
    """Time for which an answer is reused for the same request; 0: never."""
    default_backend: Literal["mistral", "gpt-4"] = "mistral"
    """The backend that answers requests without X-Backend, an experiment and a canary."""
    cascade_threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    """A cascade escalates an answer whose probability is below: 0 none, 1 nearly all. See the training report."""
    experiments_file: Path | None = None
    """JSON, read again when it changes; None: no experiment."""
    shadow_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of answers for which the other backend is asked too, to compare them."""
    shadow_usd_per_day: UsdPerDay = Decimal(1)
    """Budget of those shadow requests, in addition to their backends' limits."""
    candidate_shadow_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the candidate's answers for which mistral is asked too, within the budget of shadow requests."""
    universe_file: Path | None = None
    """CSV with the columns ticker and sector, for reports of comparisons by sector; read once, at the start."""
    comparisons_kept: Annotated[int, Field(gt=0, le=10**7)] = 100_000
    """Stored pairs of answers, the newest of each two backends; 149 bytes each, without texts."""

    @model_validator(mode="after")
    def _require_consistency(self) -> Self:
        if self.market == "parquet" and not (self.market_dir and any(self.market_dir.glob("ohlcv*.parquet"))):
            raise ValueError("CONVICTION_MARKET_DIR: the parquet market needs a folder that contains ohlcv*.parquet")
        if self.api_keys_file is None and not is_loopback(self.host):
            raise ValueError(
                "CONVICTION_API_KEYS_FILE: required to listen on an address that is not loopback (CONVICTION_HOST)"
            )
        return self


def load_settings() -> Settings:
    """Read the gateway's settings. Raises `InvalidSettings` naming every invalid variable."""
    return load(Settings)
