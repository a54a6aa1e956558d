"""The values of the collectors' labels that are known in advance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from app.contract.completion import BackendName
from app.contract.prompt import Detail
from app.pricing.prices import Basis

OK = "ok"
ERROR = "error"
"""The label that replaces the action of a backend that failed, in a pair."""
AGREE, DIFFER = "agree", "differ"
"""Whether the actions of a pair are equal."""
UNKNOWN = "unknown"
"""The label of a request that was refused before its backend or detail was known."""

SCOPES, REASONS = ("key", "backend"), ("requests", "tokens", "budget")
"""Whose limit refused a request, and which limit."""

STORES = ("ledger", "comparisons", "canary")
"""The stores whose failed writes are counted."""

TokenType = Literal["input", "cached_input", "output"]
DetailLabel = Detail | Literal["chat"]
"""How much a call wrote: a recommendation's detail, or a chat completion."""
CacheResult = Literal["hit", "miss", "coalesced"]
CanaryPhase = Literal["off", "running", "paused", "rolled_back"]
ShadowResult = Literal["stored", "shed", "refused", "lost"]
DecisionLogResult = Literal["stored", "dropped"]
BudgetNoticeResult = Literal["sent", "failed", "dropped"]

BASIS: Mapping[BackendName, Basis] = {"mistral": "capacity", "gpt-4": "list_price", "candidate": "capacity"}
