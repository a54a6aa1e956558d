"""The construction of backends from settings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from app.backends.base import Backend
from app.backends.registry import build_backends
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.errors import BackendUnavailable, NotConfigured
from app.settings.gateway import Settings

from ..conftest import StandIn
from .conftest import Script, http, soon

BRIEF = messages(EXAMPLE, "SNPS", "brief")


def settings(**given: Any) -> Settings:
    bare: dict[str, Any] = {"vllm_urls": (), "openai_api_key": None, "openai_base_url": None}
    return Settings(**(bare | given))


@pytest.mark.parametrize(("name", "setting"), [("mistral", "CONVICTION_VLLM_URLS"), ("gpt-4", "OPENAI_API_KEY")])
@pytest.mark.parametrize("given", [{}, {"openai_api_key": SecretStr("")}])
async def test_an_unconfigured_backend_names_its_setting(
    name: BackendName, setting: str, given: dict[str, Any]
) -> None:
    backend = build_backends(settings(**given))[name]
    for ask in (backend.complete(BRIEF, "brief", soon()), backend.check()):
        with pytest.raises(NotConfigured, match=f"{name} is not set up: set {setting}"):
            await ask
    await backend.close()


async def test_both_answer_once_configured(stand_in: StandIn) -> None:
    backends = build_backends(
        settings(vllm_urls=(stand_in.url,), openai_base_url=stand_in.url, openai_api_key=SecretStr(stand_in.key))
    )
    assert tuple(backends) == BACKEND_NAMES  # without a candidate
    for name, backend in backends.items():
        assert backend.name == name
        await backend.check()
        assert (await backend.complete(BRIEF, "brief", soon())).stand_in
        await backend.close()


async def test_a_foreign_model_needs_a_setting(script: Script) -> None:
    server = await script(http("200 OK", '{"data": [{"id": "foreign"}]}'))

    async def check(allowed: bool) -> Backend:
        backend = build_backends(settings(vllm_urls=(server.url,), allow_foreign_model=allowed))["mistral"]
        try:
            await backend.check()
        finally:
            await backend.close()
        return backend

    assert (await check(allowed=True)).model == "foreign"
    with pytest.raises(BackendUnavailable):
        await check(allowed=False)


@pytest.mark.parametrize("model", [f"other-{fingerprint()}", f"base-{fingerprint()}"])
async def test_a_candidate_may_be_a_model_beside_another_of_the_same_server(script: Script, model: str) -> None:
    served = {"data": [{"id": f"base-{fingerprint()}"}, {"id": f"other-{fingerprint()}"}]}
    server = await script(http("200 OK", json.dumps(served)))
    candidate = build_backends(settings(candidate_urls=(server.url,), candidate_model=model))["candidate"]
    await candidate.check()
    assert candidate.model == model
    await candidate.close()


async def test_a_candidate_of_another_contract_is_refused(script: Script) -> None:
    server = await script(http("200 OK", '{"data": [{"id": "mistral-0123456789ab"}]}'))
    candidate = build_backends(settings(candidate_urls=(server.url,)))["candidate"]
    with pytest.raises(BackendUnavailable, match="serves no model made for this gateway's contract"):
        await candidate.check()
    await candidate.close()
