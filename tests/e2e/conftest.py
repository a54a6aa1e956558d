"""The default model in the real vLLM, started by `conviction up` once for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.supervisor.running import Up, up

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def vllm_up(tmp_path_factory: pytest.TempPathFactory, stand_in_server: StandIn) -> Iterator[Up]:
    """Its GPT-4 route leads to the stand-in."""
    for needed in (".envs/vllm/bin/python", ".models"):
        assert (ROOT / needed).exists(), f"{needed} is not there: `make model .envs/vllm/.complete`"
    more = {
        "OPENAI_BASE_URL": stand_in_server.url,
        "OPENAI_API_KEY": stand_in_server.key,
        "CONVICTION_VLLM_PYTHON": str(ROOT / ".envs/vllm/bin/python"),
        "CONVICTION_MODELS": str(ROOT / ".models"),
        "CONVICTION_MODEL_STORE": str(ROOT / "model_store"),
    }
    with up(tmp_path_factory.mktemp("vllm"), more=more, timeout_s=600) as running:
        yield running
