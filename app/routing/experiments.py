"""Experiments: each assigns requests to arms by a hash of the subject, so that a subject always gets the same arm.

A subject hashes to one of 10,000 buckets; an arm's weight is the number of its buckets. The arms choose in turn from
the remaining buckets, each in a fixed order that does not depend on weights. When weights change, most buckets keep
their arm: with two arms only the difference moves, with more hardly more than that.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.contract.prompt import Detail
from app.routing.headers import Choice

CANARY = "canary"
"""The name by which answers state that the canary, and no experiment, chose their backend."""
BUCKETS = 10_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Arm(_Form):
    """A backend and its number of buckets."""

    name: Name
    backend: Choice
    weight: Annotated[int, Field(ge=0, le=BUCKETS)]


class Experiment(_Form):
    """Arms that share the requests of one detail, or of all details."""

    name: Name
    detail: Detail | None = None
    arms: tuple[Arm, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if duplicate := _duplicate([arm.name for arm in self.arms]):
            raise ValueError(f"{self.name} has more than one arm {duplicate}")
        if (total := sum(arm.weight for arm in self.arms)) != BUCKETS:
            raise ValueError(f"the weights of {self.name} add up to {total}, not to {BUCKETS}")
        return self

    @cached_property
    def owners(self) -> tuple[Arm, ...]:
        """The arm of each bucket."""
        owners, left = [self.arms[0]] * BUCKETS, list(range(BUCKETS))
        for position, arm in enumerate(self.arms):
            if 0 < position < len(self.arms) - 1:
                left.sort(key=lambda bucket, arm=arm: _digest(self.name, arm.name, str(bucket)))  # type: ignore[misc]
            for bucket in left[: arm.weight]:
                owners[bucket] = arm
            left = left[arm.weight :]
        return tuple(owners)

    def assign(self, subject: str) -> Arm:
        """Return the arm of a subject."""
        return self.owners[bucket_of(self.name, subject)]


class Plan(_Form):
    """The active experiments, at most one per request."""

    experiments: tuple[Experiment, ...]

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if duplicate := _duplicate([experiment.name for experiment in self.experiments]):
            raise ValueError(f"more than one experiment is named {duplicate}")
        if any(experiment.name == CANARY for experiment in self.experiments):
            raise ValueError(f"no experiment may be named {CANARY}, as answers name the canary")
        for detail in get_args(Detail):
            both = [each.name for each in self.experiments if each.detail in (None, detail)]
            if len(both) > 1:
                raise ValueError(f"{' and '.join(both)} both apply to requests in {detail}: remove one")
        return self

    def experiment(self, detail: Detail) -> Experiment | None:
        """Return the experiment that applies to requests of a detail."""
        return next((each for each in self.experiments if each.detail in (None, detail)), None)


def bucket_of(experiment: str, subject: str) -> int:
    """Return the bucket of a subject; it differs between experiments."""
    return int.from_bytes(_digest(experiment, subject)[:8]) % BUCKETS


def _digest(*parts: str) -> bytes:
    return sha256("\n".join(parts).encode()).digest()


def _duplicate(names: list[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
