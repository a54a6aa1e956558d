"""The start of calls: retries, failover, time-outs and the circuit breaker."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from app.backends.circuit_breaker import MAX_CONSECUTIVE_FAILURES, PAUSE_S
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.deadline import Deadline
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded

from ..conftest import StandIn
from .conftest import Make, Script, begun, dripping, http, said, silent, soon, sse, used

BRIEF = messages(EXAMPLE, "SNPS", "brief")
DOWN = "http://127.0.0.1:9/v1"
GOOD = sse(said("{}", "stop"), used(1, 1), "[DONE]")
FAILED = http("500 Oh", "{}")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "bad", [FAILED, http("503 Busy", "{}", "retry-after: 60"), http("429 Slow down", "{}", "retry-after: 60"), b""]
)
async def test_a_failure_fails_over_immediately(bad: bytes, make: Make, script: Script) -> None:
    first, second = await script(bad), await script(GOOD)
    backend = make("gpt-4", first.url, second.url)
    started = time.monotonic()
    assert (await backend.complete(BRIEF, "brief", soon())).text == "{}"
    assert (await backend.complete(BRIEF, "brief", soon())).text == "{}"
    assert time.monotonic() - started < 5
    assert (first.connections, second.connections) == (1, 2)


async def test_a_server_with_another_model_is_skipped(make: Make, script: Script, stand_in: StandIn) -> None:
    foreign = await script(http("200 OK", '{"data": [{"id": "foreign"}]}'))
    assert (await make("mistral", foreign.url, stand_in.url).complete(BRIEF, "brief", soon())).stand_in


@pytest.mark.parametrize(
    "reply",
    [
        begun(said("a")),
        begun(said("a"), "}"),
        http("200 OK", "<html>", kind="text/html"),
        http("400 No", "{}"),
        http("429 No", '{"error":{"code":"insufficient_quota"}}'),
    ],
)
async def test_started_and_final_failures_do_not_fail_over(reply: bytes, make: Make, script: Script) -> None:
    first, second = await script(reply), await script(GOOD)
    with pytest.raises(BackendError):
        await make("gpt-4", first.url, second.url).complete(BRIEF, "brief", soon())
    assert (first.connections, second.connections) == (1, 0)


async def test_a_silent_server_fails_over(make: Make, script: Script) -> None:
    mute, second = await script(silent), await script(GOOD)
    backend = make("gpt-4", mute.url, second.url, first_token_s=0.2)
    assert (await backend.complete(BRIEF, "brief", soon())).text == "{}"
    async with asyncio.timeout(5):
        await mute.left.wait()
    assert mute.connections == 1


async def test_a_single_silent_server_is_an_error(make: Make, script: Script) -> None:
    mute = await script(silent)
    with pytest.raises(DeadlineExceeded, match=r"gpt-4 sent no token within 0.2 s"):
        await make("gpt-4", mute.url, first_token_s=0.2).complete(BRIEF, "brief", soon())
    assert mute.connections == 1


async def test_an_incomplete_first_token_times_out(make: Make, script: Script) -> None:
    slow, second = await script(dripping(begun(said("a")), 0.05)), await script(GOOD)
    with pytest.raises(DeadlineExceeded, match="sent no token within"):
        await make("gpt-4", slow.url, second.url, first_token_s=0.5).complete(BRIEF, "brief", soon())
    assert second.connections == 0, "something had been received"


async def test_the_deadline_precedes_the_first_token_limit(make: Make, script: Script) -> None:
    mute, second = await script(silent), await script(GOOD)
    with pytest.raises(DeadlineExceeded, match=r"gpt-4 did not answer within 0.2 s"):
        await make("gpt-4", mute.url, second.url, first_token_s=5).complete(BRIEF, "brief", soon(0.2))
    assert second.connections == 0


async def test_a_slow_stream_ends_at_the_deadline(make: Make, script: Script) -> None:
    dripped = await script(dripping(begun(*[said("a")] * 1000)))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="did not answer within"):
        await make("gpt-4", dripped.url).complete(BRIEF, "brief", soon(1))
    assert time.monotonic() - started < 5
    async with asyncio.timeout(5):
        await dripped.left.wait()


async def test_no_attempt_is_made_past_the_deadline(make: Make, script: Script) -> None:
    server = await script(GOOD)
    with pytest.raises(DeadlineExceeded):
        await make("gpt-4", server.url).complete(BRIEF, "brief", Deadline.after(0))


async def test_the_backoff_doubles(make: Make, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await script(FAILED)
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("app.backends.dispatcher.asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))
    shares = iter([0.5, 1.0])
    with pytest.raises(BackendError):
        await make("gpt-4", server.url, jitter=lambda: next(shares)).complete(BRIEF, "brief", soon())
    assert paused == [0.125, 0.5]
    assert server.connections == 3


async def fail(backend: object, times: int) -> None:
    for _ in range(times):
        with pytest.raises(BackendError):
            await backend.complete(BRIEF, "brief", soon())  # type: ignore[attr-defined]


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backends.dispatcher.RETRIES", 0)


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize("reply", [FAILED, b"", begun(), begun("}")])
async def test_repeated_failures_open_the_breaker(reply: bytes, make: Make, script: Script) -> None:
    clock = Clock()
    server = await script(*[reply] * (MAX_CONSECUTIVE_FAILURES + 1), GOOD)
    backend = make("gpt-4", server.url, clock=clock)
    await fail(backend, MAX_CONSECUTIVE_FAILURES)
    assert backend.breaker == "open"
    for ask in (backend.complete(BRIEF, "brief", soon()), backend.check()):
        with pytest.raises(BackendUnavailable, match="gpt-4 has failed repeatedly and is paused") as raised:
            await ask
        assert raised.value.retry_after == PAUSE_S
    assert server.connections == MAX_CONSECUTIVE_FAILURES
    clock.now += PAUSE_S
    assert backend.breaker == "half_open"
    await fail(backend, 1)
    assert backend.breaker == "open"
    clock.now += 2 * PAUSE_S
    assert (await backend.complete(BRIEF, "brief", soon())).text == "{}"
    assert backend.breaker == "closed"


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize("reply", [begun(said("a")), begun(said("a"), "}")])
async def test_truncated_answers_count_as_failures(reply: bytes, make: Make, script: Script) -> None:
    server = await script(reply)
    backend = make("gpt-4", server.url)
    await fail(backend, MAX_CONSECUTIVE_FAILURES)
    assert backend.breaker == "open"


@pytest.mark.usefixtures("no_retries")
async def test_a_probe_closes_the_breaker_at_its_first_token(make: Make, script: Script) -> None:
    clock = Clock()
    server = await script(*[FAILED] * MAX_CONSECUTIVE_FAILURES, dripping(begun(said("a"))), GOOD)
    backend = make("gpt-4", server.url, clock=clock)
    await fail(backend, MAX_CONSECUTIVE_FAILURES)
    clock.now += PAUSE_S
    async with backend.answer(BRIEF, "brief", soon()) as probe:
        asked = asyncio.create_task(anext(probe))
        for _ in range(MAX_CONSECUTIVE_FAILURES + 1):
            await server.asked.acquire()
        with pytest.raises(BackendUnavailable, match="is paused"):
            await backend.complete(BRIEF, "brief", soon())
        await asked
        assert backend.breaker == "closed"
        assert (await backend.complete(BRIEF, "brief", soon())).text == "{}"


async def test_a_changed_model_is_discovered_after_a_refusal(make: Make, script: Script) -> None:
    """A configured model stays, and so does the refusal."""
    old, new = (http("200 OK", json.dumps({"data": [{"id": f"{name}-{fingerprint()}"}]})) for name in ("old", "new"))
    answer = sse(said("{}", "stop"), used(1, 1), "[DONE]")
    server = await script(old, answer, http("404 No", "{}"), new, answer)
    backend = make("mistral", server.url)
    for model in ("old", "new"):
        await backend.complete(BRIEF, "brief", soon())
        assert backend.model == f"{model}-{fingerprint()}"
    configured = make("gpt-4", (await script(http("404 No", "{}"), answer)).url)
    with pytest.raises(BackendError):
        await configured.complete(BRIEF, "brief", soon())


@pytest.mark.usefixtures("no_retries")
async def test_failures_that_are_not_the_server_s_are_not_counted(make: Make, script: Script) -> None:
    refused = http("400 No", "{}")
    unparsed = sse(said("{", "length"), used(1, 1), "[DONE]")
    for reply in (refused, http("429 Slow down", "{}"), http("404 No", "{}"), unparsed):
        server = await script(reply)
        backend = make("gpt-4", server.url)
        await fail(backend, 3 * MAX_CONSECUTIVE_FAILURES)
        assert backend.breaker == "closed"


async def test_cancelled_calls_and_short_deadlines_are_not_counted(make: Make, script: Script) -> None:
    mute = await script(silent)
    backend = make("gpt-4", mute.url)
    for _ in range(2 * MAX_CONSECUTIVE_FAILURES):
        with pytest.raises(DeadlineExceeded):
            await backend.complete(BRIEF, "brief", soon(0.02))
    for _ in range(2 * MAX_CONSECUTIVE_FAILURES):
        task = asyncio.create_task(backend.complete(BRIEF, "brief", soon()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert backend.breaker == "closed"


async def test_silent_servers_are_counted(make: Make, script: Script) -> None:
    mute = await script(silent)
    backend = make("gpt-4", mute.url, first_token_s=0.02)
    await fail(backend, MAX_CONSECUTIVE_FAILURES)
    assert backend.breaker == "open"


async def test_the_best_server_determines_the_breaker_state(make: Make, stand_in: StandIn) -> None:
    backend = make("mistral", DOWN, stand_in.url)
    for _ in range(MAX_CONSECUTIVE_FAILURES + 1):
        backend._endpoints[0].deprioritized_until = 0
        assert (await backend.complete(BRIEF, "brief", soon())).stand_in
    assert [endpoint.breaker.state for endpoint in backend._endpoints] == ["open", "closed"]
    assert backend.breaker == "closed"
    await backend.check()
    assert [endpoint.outstanding for endpoint in backend._endpoints] == [0, 0]
