"""A training of the adapter: fine-tuning, or the quantization-aware training that continues it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from training.config.section import Fraction, Positive, Section


class Pairs(Section):
    """Number of pairs by detail."""

    brief: Annotated[int, Field(ge=0)]
    full: Annotated[int, Field(ge=0)]


class Finetune(Section):
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
