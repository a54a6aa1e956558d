"""Configuration of a run: one TOML file, validated completely before any work."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from training.artifacts import faults
from training.config.base import Base
from training.config.dataset import Dataset
from training.config.evaluate import Evaluate
from training.config.finetune import Finetune
from training.config.publish import Publish
from training.config.quantize import Quantize
from training.config.section import Section
from training.config.teacher import Teacher


class ConfigError(Exception):
    """The configuration is invalid; the message lists every error."""


class Config(Section):
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
