"""What a deployment is made of: each part can be made, described and taken back, in any state it is found in."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Protocol

Change = Literal["made", "changed", "as it was"]
OWNER = "conviction-deployment"
"""The tag whose value names the deployment that made a resource; what lacks it is left alone."""


class Part(Protocol):
    """Raises `Refused`, and boto3's errors. `name` says what and which."""

    name: str

    def ensure(self) -> Change:
        """Bring it about; nothing is asked of AWS but how it is where it is so already."""
        ...

    def state(self) -> str:
        """How it is now, in a few words; "absent" where it is not there."""
        ...

    def remove(self) -> bool:
        """Take it back; whether there was anything."""
        ...


def digest(document: Any) -> str:
    """A short name for what a document says."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:10]
