"""Experiments: each deals its share of requests to arms by a hash of the subject, the same for the same subject.

A subject falls into one of 10,000 buckets, and a bucket belongs to an arm; an arm's weight is how many it has. Arms
take theirs in turn out of those that are left, each in an order of its own that weights have no part in. So, when
weights change, an arm keeps what it can: of two arms only the difference moves, of more hardly more than that.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.contract.prompt import Detail
from app.routing.headers import Choice

BUCKETS = 10_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Arm(_Form):
    """What answers, and in how many buckets."""

    name: Name
    backend: Choice
    weight: Annotated[int, Field(ge=0, le=BUCKETS)]


class Experiment(_Form):
    """Arms that share the requests of one detail, or of all."""

    name: Name
    detail: Detail | None = None
    arms: tuple[Arm, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if twice := _twice([arm.name for arm in self.arms]):
            raise ValueError(f"{self.name} has more than one arm {twice}")
        if (total := sum(arm.weight for arm in self.arms)) != BUCKETS:
            raise ValueError(f"the weights of {self.name} add up to {total}, not to {BUCKETS}")
        return self

    @cached_property
    def owners(self) -> tuple[Arm, ...]:
        """The arm that each bucket belongs to."""
        owners, left = [self.arms[0]] * BUCKETS, list(range(BUCKETS))
        for place, arm in enumerate(self.arms):
            if 0 < place < len(self.arms) - 1:
                left.sort(key=lambda bucket, arm=arm: _digest(self.name, arm.name, str(bucket)))  # type: ignore[misc]
            for bucket in left[: arm.weight]:
                owners[bucket] = arm
            left = left[arm.weight :]
        return tuple(owners)

    def deal(self, subject: str) -> Arm:
        """The arm of a subject."""
        return self.owners[bucket_of(self.name, subject)]


class Plan(_Form):
    """The experiments that run, at most one for a request."""

    experiments: tuple[Experiment, ...]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if twice := _twice([experiment.name for experiment in self.experiments]):
            raise ValueError(f"there is more than one experiment {twice}")
        for detail in get_args(Detail):
            both = [each.name for each in self.experiments if each.detail in (None, detail)]
            if len(both) > 1:
                raise ValueError(f"{' and '.join(both)} would share the requests in {detail}: one must go")
        return self

    def experiment(self, detail: Detail) -> Experiment | None:
        """The one that requests of a detail take part in."""
        return next((each for each in self.experiments if each.detail in (None, detail)), None)


def bucket_of(experiment: str, subject: str) -> int:
    """Where a subject falls, in each experiment elsewhere."""
    return int.from_bytes(_digest(experiment, subject)[:8]) % BUCKETS


def _digest(*parts: str) -> bytes:
    return sha256("\n".join(parts).encode()).digest()


def _twice(names: list[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
