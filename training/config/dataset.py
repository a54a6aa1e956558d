"""The data set: its tickers, metrics and splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from app.market.source import OptionSource
from training.config.section import Fraction, Section

SPLITS = ("train", "validation", "test")
SHARE_ROUNDING = 1e-9


class Split(Section):
    """Share of tickers, inclusive date range, and number of pairs by detail."""

    tickers: Annotated[float, Field(gt=0, le=1)]
    first: date
    last: date
    brief: Annotated[int, Field(ge=0)]
    full: Annotated[int, Field(ge=0)]


def _is_a_universe(universe: str) -> str:
    if universe not in ("market", "prominent") and not Path(universe).is_file():
        raise ValueError(f"{universe!r} is neither 'market', 'prominent' nor a file")
    return universe


class Dataset(Section):
    """Data set settings; validation and test use other tickers at later dates than training."""

    universe: Annotated[str, AfterValidator(_is_a_universe)] = "market"
    """`market` (all tickers of the folder), `prominent` (S&P 500 and 600, NASDAQ 100), or a CSV file with a column
    `ticker` and optionally `name`, which identifies tickers of one company."""
    options: OptionSource
    seed: int
    drop_metric: Fraction
    """Probability of dropping each metric of a pair."""
    drop_options: Fraction
    """Probability of dropping a pair's whole option block."""
    train: Split
    validation: Split
    test: Split

    @field_validator("test")
    @classmethod
    def _splits_fit_together(cls, test: Split, info: ValidationInfo) -> Split:
        """Validate the splits together; `test` is the last field, so the others are available."""
        splits = {name: info.data[name] for name in ("train", "validation") if name in info.data} | {"test": test}
        problems = [*_empty_or_backward(splits), *_before_the_cut_off(splits)]
        if (shares := sum(split.tickers for split in splits.values())) > 1 + SHARE_ROUNDING:
            problems.append(f"the shares of {', '.join(splits)} sum to {shares:.4g}, above 1")
        if problems:
            raise ValueError("; ".join(problems))
        return test


def _empty_or_backward(splits: Mapping[str, Split]) -> Iterator[str]:
    for name, split in splits.items():
        if split.first > split.last:
            yield f"{name}.first, {split.first}, is after {name}.last, {split.last}"
        if split.brief + split.full == 0:
            yield f"{name}.brief and {name}.full are both 0"


def _before_the_cut_off(splits: Mapping[str, Split]) -> Iterator[str]:
    """Yield splits that do not start after training ends: the same days move all stocks."""
    train = splits.get("train")
    for name, split in splits.items():
        if train and split is not train and split.first <= train.last:
            yield f"{name}.first, {split.first}, is not after train.last, {train.last}"
