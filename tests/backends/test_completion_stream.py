"""Completions in progress: text as it arrives, usage at any time, and cancellation."""

from __future__ import annotations

import asyncio

import pytest

from app.contract.completion import NO_USAGE, BackendName, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from app.errors import BackendError, DeadlineExceeded, UnparsedAnswer
from app.stand_in import Mode

from ..conftest import StandIn
from .conftest import Make, Script, begun, dripping, http, said, silent, soon, sse, used

FULL = messages(EXAMPLE, "SNPS", "full")
BRIEF = messages(EXAMPLE, "SNPS", "brief")


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_the_pieces_make_the_text(name: BackendName, make: Make, stand_in: StandIn) -> None:
    backend = make(name, stand_in.url, key=stand_in.key)
    stand_in.fail("slow")
    async with backend.answer(BRIEF, "brief", soon()) as stream:
        pieces = [piece async for piece in stream]
        assert "".join(pieces) == stream.completion.text == canonical(answer(EXAMPLE, "brief"))
        assert stream.usage == stream.completion.usage
    assert len(pieces) > 5
    assert all(pieces)


async def test_a_piece_is_returned_on_arrival(make: Make, script: Script) -> None:
    server = await script(dripping(begun(said("a"), said("b"), said("c")), pause_s=0.3, size=len(begun(said("a")))))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        assert await anext(stream) == "a"
        assert not server.left.is_set()


async def test_nothing_is_sent_before_the_first_iteration(make: Make, script: Script) -> None:
    server = await script(sse(said("{}", "stop"), used(7, 1), "[DONE]"))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        assert stream.usage == NO_USAGE
    assert server.connections == 0


async def test_nothing_follows_the_end(make: Make, script: Script) -> None:
    server = await script(sse(said("{}", "stop"), used(7, 1), "[DONE]", said("more")))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        assert [piece async for piece in stream] == ["{}"]
        assert [piece async for piece in stream] == []
    assert server.connections == 1


async def usage_after(pieces: int, make: Make, stand_in: StandIn, name: BackendName) -> Usage:
    stand_in.fail("slow")
    async with make(name, stand_in.url, key=stand_in.key).answer(FULL, "full", soon()) as stream:
        for _ in range(pieces):
            await anext(stream)
        return stream.usage


async def test_vllm_reports_the_exact_usage_of_a_cancelled_stream(make: Make, stand_in: StandIn) -> None:
    before = stand_in.tally()
    usage = await usage_after(4, make, stand_in, "mistral")
    await asyncio.to_thread(stand_in.wait, lambda tally: tally["abandoned"] == before["abandoned"] + 1)
    after = stand_in.tally()
    assert not usage.estimated
    assert usage.prompt_tokens == after["prompt_tokens"] - before["prompt_tokens"]
    # The stand-in may have sent further tokens before it noticed the disconnect.
    assert 4 <= usage.completion_tokens <= after["completion_tokens"] - before["completion_tokens"] < 40


async def test_openai_does_not_so_received_events_are_counted(make: Make, stand_in: StandIn) -> None:
    usage = await usage_after(4, make, stand_in, "gpt-4")
    assert usage.estimated
    assert usage.completion_tokens >= 4
    assert usage.prompt_tokens > 100


@pytest.mark.parametrize("mode", ["slow", "late", "drip", "timeout"])
async def test_cancelling_closes_the_call(mode: Mode, make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    before = stand_in.tally()["abandoned"]
    stand_in.fail(mode)
    task = asyncio.create_task(backend.complete(FULL, "full", soon()))
    await asyncio.to_thread(stand_in.wait, lambda tally: tally["open"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(stand_in.wait, lambda tally: tally["abandoned"] == before + 1 and not tally["open"])


@pytest.mark.parametrize("begins", [True, False])
async def test_the_server_notices_immediately(begins: bool, make: Make, script: Script) -> None:
    server = await script(dripping(begun(*[said("a")] * 500), size=200) if begins else silent)
    stream = make("gpt-4", server.url).answer(BRIEF, "brief", soon())
    async with stream as reading:
        first = asyncio.create_task(anext(reading))
        await server.asked.acquire()
        if begins:
            await first
        else:
            await asyncio.sleep(0.05)
            first.cancel()
        assert not server.left.is_set()
    async with asyncio.timeout(1):
        await server.left.wait()


async def test_the_deadline_closes_the_call_without_a_reader(make: Make, script: Script) -> None:
    server = await script(dripping(begun(*[said("a")] * 500), size=200))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon(0.5)) as stream:
        await anext(stream)
        async with asyncio.timeout(5):
            await server.left.wait()
        with pytest.raises(DeadlineExceeded):
            async for _ in stream:
                pass
        assert stream.usage.completion_tokens >= 1


async def test_an_unanswered_call_is_estimated(make: Make, script: Script) -> None:
    mute = await script(silent)
    stream = make("gpt-4", mute.url).answer(BRIEF, "brief", soon(0.2))
    async with stream as reading:
        with pytest.raises(DeadlineExceeded):
            await anext(reading)
        assert reading.usage.estimated
        assert reading.usage.prompt_tokens > 50
        assert reading.usage.completion_tokens == 0


@pytest.mark.parametrize("reply", [b"", http("500 Oh", "{}"), http("429 No", "{}"), http("400 No", "{}")])
async def test_a_refused_call_has_used_nothing(reply: bytes, make: Make, script: Script) -> None:
    server = await script(reply)
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        with pytest.raises(BackendError):
            await anext(stream)
        assert stream.usage == NO_USAGE


@pytest.mark.parametrize(
    "reply",
    [
        sse('{"error": {"message": "overloaded"}}', "[DONE]"),
        sse("[DONE]"),
        http("200 OK", "<html>Bad gateway</html>", kind="text/html"),
        http("200 OK", ""),
    ],
)
async def test_no_completion_with_status_200_has_used_nothing(reply: bytes, make: Make, script: Script) -> None:
    server = await script(reply)
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        with pytest.raises(BackendError, match="sent a truncated or invalid response"):
            await anext(stream)
        assert stream.usage == NO_USAGE


async def test_latencies_are_those_of_the_answered_attempt(make: Make, script: Script) -> None:
    busy = http("429 No", "{}", "retry-after: 1")
    server = await script(busy, sse(said("{}", "stop"), used(7, 1), "[DONE]"))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        assert [piece async for piece in stream] == ["{}"]
    first = stream.completion.time_to_first_token
    assert first is not None
    assert 0 < first <= stream.completion.duration < 0.9
    assert (server.connections, stream.attempts) == (2, 2)


async def test_a_truncated_answer_is_estimated(make: Make, script: Script) -> None:
    server = await script(begun(said("a"), said("b")))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        with pytest.raises(BackendError, match="sent a truncated or invalid response"):
            async for _ in stream:
                pass
        assert stream.usage.completion_tokens == 2
        assert stream.usage.estimated


async def test_an_invalid_answer_has_the_reported_usage(make: Make, script: Script) -> None:
    server = await script(sse(said("{", "length"), used(7, 1), "[DONE]"))
    async with make("gpt-4", server.url).answer(BRIEF, "brief", soon()) as stream:
        with pytest.raises(UnparsedAnswer):
            async for _ in stream:
                pass
        assert stream.usage == Usage(7, 1)


async def test_an_open_response_does_not_delay_the_completion(make: Make, script: Script) -> None:
    whole = begun(said("{}", "stop"), used(7, 1), "[DONE]")
    server = await script(dripping(whole, size=len(whole)))
    async with asyncio.timeout(5):
        completion = await make("gpt-4", server.url).complete(BRIEF, "brief", soon())
        await server.left.wait()
    assert completion.text == "{}"


async def test_a_connection_is_reused_after_a_whole_answer(make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    for _ in range(5):
        await backend.complete(BRIEF, "brief", soon())
    connector = backend._transport._session.connector
    assert connector is not None
    assert [len(kept) for kept in connector._conns.values()] == [1]
