"""What answered a side of a pair: a model and a version of the prompt. Records hold a version's number in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

MAX_MODEL = 200
"""Characters of a model's name that are stored."""


@dataclass(frozen=True)
class Version:
    """A model and the version of the prompt that it was asked with."""

    model: str
    prompt_version: str

    @property
    def name(self) -> str:
        """The name in the store."""
        return f"{self.prompt_version} {self.model[:MAX_MODEL]}"

    @classmethod
    def of(cls, name: str) -> Self:
        prompt_version, _, model = name.partition(" ")
        return cls(model, prompt_version)


Versions = Sequence[Version | None]
"""The versions by their numbers. 0 is unknown: the side failed, or the pair was stored before versions were."""
UNKNOWN_ONLY: Versions = (None,)


def numbered(numbers: Mapping[bytes, bytes]) -> Versions:
    """Return the versions from the store's numbers by name."""
    versions: list[Version | None] = [None] * (len(numbers) + 1)
    for name, number in numbers.items():
        versions[int(number)] = Version.of(name.decode())
    return versions
