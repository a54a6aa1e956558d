"""A selection of stored pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.comparison.records import BLINDS, DETAILS, NO_ACTION, ORIGINS, Origin, Records, sides_of
from app.comparison.versions import UNKNOWN_ONLY, Versions
from app.contract.completion import BackendName
from app.contract.prompt import Detail


@dataclass(frozen=True)
class Choice:
    """What the selected pairs have in common; None selects all."""

    tickers: Sequence[str] | None = None
    detail: Detail | None = None
    origin: Origin | None = None
    blind: bool | None = None
    agree: bool | None = None
    """Whether both actions are equal; pairs that lack an action are in neither selection."""
    models: Mapping[BackendName, str] = field(default_factory=dict)
    prompt_version: str | None = None

    def mask(self, records: Records, versions: Versions = UNKNOWN_ONLY) -> NDArray[np.bool_]:
        """Return the mask of the selected records."""
        chosen = np.ones(len(records), np.bool_)
        if self.tickers is not None:
            chosen &= np.isin(records["ticker"], np.array([name.encode() for name in self.tickers], "S10"))
        if self.detail is not None:
            chosen &= records["detail"] == DETAILS.index(self.detail)
        if self.origin is not None:
            chosen &= records["origin"] == ORIGINS.index(self.origin)
        if self.blind is not None:
            chosen &= records["blind"] == BLINDS.index(self.blind)
        if self.agree is not None:
            one, other = (records[name]["action"] for name in sides_of(records.dtype))
            chosen &= (one != NO_ACTION) & (other != NO_ACTION) & ((one == other) == self.agree)
        for name, model in self.models.items():
            numbers = [number for number, version in enumerate(versions) if version and version.model == model]
            chosen &= np.isin(records[f"{name}_version"], numbers)
        if self.prompt_version is not None:
            chosen &= self._prompted(records, versions)
        return chosen

    def _prompted(self, records: Records, versions: Versions) -> NDArray[np.bool_]:
        """Return the mask of records with an answer to this version of the prompt."""
        wanted = self.prompt_version
        numbers = [number for number, version in enumerate(versions) if version and version.prompt_version == wanted]
        one, other = (np.isin(records[f"{name}_version"], numbers) for name in sides_of(records.dtype))
        return one | other
