"""The parts of a deployment. Each can be created, described and removed from any state."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Protocol

Change = Literal["made", "changed", "as it was"]
OWNER = "conviction-deployment"
"""The tag that names the deployment which created a resource. Resources without it are never changed."""


class Part(Protocol):
    """A part of a deployment; `name` is its kind and identifier. Methods raise `Refused` and boto3's errors."""

    name: str

    def ensure(self) -> Change:
        """Create or update the part. Only reads from AWS where nothing differs."""
        ...

    def state(self) -> str:
        """Return the current state in a few words; "absent" where the part does not exist."""
        ...

    def remove(self) -> bool:
        """Remove the part; return whether it existed."""
        ...


def digest(document: Any) -> str:
    """Return a short hash of a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:10]
