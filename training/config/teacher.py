"""The teacher that labels the data set."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from app.errors import NotConfigured
from app.pricing.prices import list_price
from training.config.section import Fraction, Positive, Section


class Teacher(Section):
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
