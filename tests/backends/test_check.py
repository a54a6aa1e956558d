"""The readiness check of a backend, and the discovery of its model."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.errors import BackendUnavailable, NotConfigured

from ..conftest import StandIn
from .conftest import Make, Script, http, silent, soon

BRIEF = messages(EXAMPLE, "SNPS", "brief")
DOWN = "http://127.0.0.1:9/v1"


def listing(*models: str) -> bytes:
    return http("200 OK", json.dumps({"data": [{"id": model} for model in models]}))


async def test_both_pass_if_their_models_are_served(make: Make, stand_in: StandIn) -> None:
    mistral, gpt4 = make("mistral", stand_in.url), make("gpt-4", stand_in.url, key=stand_in.key)
    await mistral.check()
    await gpt4.check()
    assert mistral.model.endswith(fingerprint())
    assert gpt4.model == "gpt-4.1"


async def test_a_model_of_another_contract_is_refused(make: Make, script: Script) -> None:
    server = await script(listing("/models/secret-place/mistral-000000000000"))
    for backend in (make("mistral", server.url), make("mistral", server.url)):
        for ask in (backend.check(), backend.complete(BRIEF, "brief", soon())):
            with pytest.raises(BackendUnavailable) as raised:
                await ask
            assert fingerprint() in raised.value.detail
            assert "CONVICTION_ALLOW_FOREIGN_MODEL=1" in raised.value.detail
            assert "secret-place" not in raised.value.detail


async def test_a_model_of_another_contract_may_be_allowed(make: Make, script: Script) -> None:
    server = await script(listing("someone/else"))
    backend = make("mistral", server.url, fingerprint="")
    await backend.check()
    assert backend.model == "someone/else"


async def test_the_matching_model_of_several_is_chosen(make: Make, script: Script) -> None:
    server = await script(listing("base", f"mistral-{fingerprint()}", "other"))
    backend = make("mistral", server.url)
    await backend.check()
    assert backend.model == f"mistral-{fingerprint()}"


@pytest.mark.parametrize(
    "reply",
    [
        listing(),
        http("200 OK", "[]"),
        http("200 OK", "{"),
        http("200 OK", "<html>", kind="text/html"),
        http("200 OK", '{"data": [{"name": "x"}]}'),
    ],
)
async def test_a_server_that_lists_nothing(reply: bytes, make: Make, script: Script) -> None:
    server = await script(reply)
    with pytest.raises(BackendUnavailable, match="mistral lists no models"):
        await make("mistral", server.url).check()


async def test_a_key_that_may_not_list_models_passes(make: Make, script: Script) -> None:
    server = await script(http("403 Forbidden", "{}"))
    await make("gpt-4", server.url).check()
    with pytest.raises(NotConfigured, match="mistral does not accept the key: its server requires one"):
        await make("mistral", server.url).check()


async def test_a_passed_check_is_cached_briefly(make: Make, script: Script) -> None:
    server = await script(listing(f"m-{fingerprint()}"))
    backend = make("mistral", server.url)
    for _ in range(20):
        await backend.check()
    assert server.connections == 1
    await asyncio.sleep(1.1)
    await backend.check()
    assert server.connections == 2


async def test_a_failed_check_is_not_cached(make: Make, script: Script) -> None:
    server = await script(http("503 Not yet", "{}"), listing(f"m-{fingerprint()}"))
    backend = make("mistral", server.url)
    with pytest.raises(BackendUnavailable):
        await backend.check()
    await backend.check()


async def test_a_failed_call_invalidates_a_passed_check(make: Make, script: Script) -> None:
    server = await script(listing(f"m-{fingerprint()}"), b"")
    backend = make("mistral", server.url)
    await backend.check()
    with pytest.raises(BackendUnavailable):
        await backend.complete(BRIEF, "brief", soon())
    with pytest.raises(BackendUnavailable):
        await backend.check()


async def test_one_server_of_several_is_enough(make: Make, stand_in: StandIn) -> None:
    backend = make("mistral", DOWN, stand_in.url)
    await backend.check()
    assert (await backend.complete(BRIEF, "brief", soon())).stand_in


async def test_a_call_fails_over_from_a_server_that_is_down(make: Make, stand_in: StandIn) -> None:
    backend = make("mistral", DOWN, stand_in.url)
    started = time.perf_counter()
    for _ in range(3):
        assert (await backend.complete(BRIEF, "brief", soon())).stand_in
    assert time.perf_counter() - started < 2


async def test_calls_are_balanced_between_servers(make: Make, stand_in: StandIn, stand_in_of_all: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, stand_in_of_all.url, key=stand_in.key)
    before = [server.tally()["answered"] for server in (stand_in, stand_in_of_all)]
    await asyncio.gather(*(backend.complete(BRIEF, "brief", soon()) for _ in range(10)))
    after = [server.tally()["answered"] for server in (stand_in, stand_in_of_all)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [5, 5]


async def test_concurrent_discoveries_share_one_request(make: Make, script: Script) -> None:
    server = await script(listing(f"mistral-{fingerprint()}"))
    backend = make("mistral", server.url)
    await asyncio.gather(*(backend.discover_model() for _ in range(20)))
    assert backend.model == f"mistral-{fingerprint()}"
    await backend.discover_model()
    assert server.connections == 1


async def test_discovery_needs_one_server_and_survives_a_cancelled_caller(make: Make, script: Script) -> None:
    go = asyncio.Event()

    async def late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(listing(f"mistral-{fingerprint()}"))

    hung, server = await script(silent), await script(late)
    backend = make("mistral", hung.url, server.url)
    cancelled, other = (asyncio.create_task(backend.discover_model()) for _ in range(2))
    await server.asked.acquire()
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    began = time.monotonic()
    go.set()
    await other
    assert backend.model == f"mistral-{fingerprint()}"
    assert time.monotonic() - began < 2.5  # the hung server has three seconds


async def test_an_unreachable_backend_has_no_model(make: Make) -> None:
    backend = make("mistral", DOWN)
    await backend.discover_model()
    assert backend.model == ""


async def test_a_stand_in_is_recognised_by_its_list_of_models(make: Make, script: Script) -> None:
    plain = listing("gpt-4.1")
    marked = plain.replace(b"\r\n\r\n", b"\r\nx-stand-in: true\r\n\r\n", 1)
    for reply, stand_in in ((marked, True), (plain, False)):
        backend = make("gpt-4", (await script(reply)).url)
        assert backend.stand_in is None
        await backend.check()
        assert backend.stand_in is stand_in
