"""The canary's state and counts in Redis, shared by all gateways. Every method raises `StoreUnavailable`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from app.contract.completion import INCUMBENT
from app.routing.canary_policy import Counts
from app.stores.pipelined import Pipelined
from app.stores.scripts import Script
from app.telemetry.labels import CanaryPhase

REPORT = Script("clock", "canary")
MOVE = Script("clock", "move_canary")


@dataclass(frozen=True)
class State:
    """What all gateways do. Each change has the next version."""

    version: int = 0
    phase: CanaryPhase = "off"
    step: int = 0
    share: float = 0.0
    """Percent of the requests that the candidate gets."""
    since_ms: int = 0
    """When the state was set, by the store's clock."""
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether the canary assigns requests."""
        return self.phase in ("running", "paused")

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        if not fields:
            return cls()
        return cls(
            version=int(fields["version"]),
            phase=cast(CanaryPhase, fields["phase"]),
            step=int(fields["step"]),
            share=float(fields["share"]),
            since_ms=int(fields["since_ms"]),
            reason=fields["reason"],
        )


@dataclass(frozen=True)
class Snapshot:
    """The state and what was counted since it was set."""

    state: State
    counts: Counts
    elapsed_s: float


class CanaryStore:
    """Adds counts, and sets the state if it is still the one that a decision was based on."""

    def __init__(self, store: Pipelined) -> None:
        self._store = store

    async def report(self, version: int, counts: Mapping[str, int]) -> Snapshot:
        """Add counts of the step with this version, and return the current state."""
        added = [part for each in counts.items() for part in each]
        fields, counted, now_ms = await self._store.run(REPORT, str(version), *added)
        state = State.of(_texts(fields))
        numbers = {name: int(count) for name, count in _texts(counted).items()}
        return Snapshot(state, Counts.of(numbers), (now_ms - state.since_ms) / 1000)

    async def move(self, version: int, phase: CanaryPhase, step: int, share: float, reason: str) -> bool:
        """Set the state, and return whether it was still of this version."""
        return bool(await self._store.run(MOVE, str(version), phase, step, f"{share:g}", reason, INCUMBENT))


def _texts(listed: list[Any]) -> dict[str, str]:
    texts = [each.decode() for each in listed]
    return dict(zip(texts[::2], texts[1::2], strict=True))
