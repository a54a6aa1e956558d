from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE, fingerprint
from tests.conftest import StandIn
from training.evaluation.clients import MAX_ATTEMPTS, Unreachable, connect

Handler = Callable[[httpx.Request], httpx.Response]
BACKENDS = {"backends": [{"name": "mistral", "model": "m-1"}, {"name": "gpt-4", "model": None}]}
ANSWER = {
    "action": "buy",
    "conviction": 7,
    "probabilities": {"buy": 0.7, "sell": 0.1, "hold": 0.2},
    "usage": {"prompt_tokens": 50, "completion_tokens": 11},
}


def gateway(answer: Handler) -> httpx.AsyncClient:
    """Return a client of a gateway with two backends that replies with `answer`."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=BACKENDS) if request.url.path == "/v1/backends" else answer(request)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle))


async def test_a_server_returns_all_three_probabilities(stand_in: StandIn) -> None:
    async with httpx.AsyncClient() as client:
        model_client = await connect(client, stand_in.url, None, stand_in.key)
        assert model_client.model.endswith(fingerprint())
        prediction = await model_client.ask("SNPS", EXAMPLE, "full")
    assert prediction.action == rules.answer(EXAMPLE, "full").action
    assert prediction.probabilities is not None
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert max(prediction.probabilities, key=lambda action: prediction.probabilities[action]) == prediction.action  # type: ignore[index]
    assert prediction.prompt_tokens > prediction.completion_tokens > 0
    assert prediction.seconds > 0


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-6.1-sol"])
async def test_a_model_of_openai_is_asked_with_its_own_parameters(stand_in_of_all: StandIn, model: str) -> None:
    async with httpx.AsyncClient() as client:
        model_client = await connect(client, stand_in_of_all.url, model, stand_in_of_all.key)
        prediction = await model_client.ask("SNPS", EXAMPLE, "full")
    assert prediction.failure is None
    assert prediction.action == rules.answer(EXAMPLE, "full").action


async def test_a_gateway_is_asked_by_its_own_protocol() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    async with gateway(answer) as client:
        model_client = await connect(client, "http://gateway", "gpt-4", "a-key")
        prediction = await model_client.ask("SNPS", EXAMPLE, "brief")
    assert (prediction.action, prediction.conviction, prediction.completion_tokens) == ("buy", 7, 11)
    assert prediction.probabilities == ANSWER["probabilities"]
    assert (seen[0].headers["x-backend"], seen[0].headers["authorization"]) == ("gpt-4", "Bearer a-key")
    assert model_client.model == "gpt-4"


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (httpx.Response(502, json={"code": "unparsed_answer"}), "unparsed_answer"),
        (httpx.Response(502, text="<html>"), "http 502"),
        (httpx.Response(200, json={**ANSWER, "action": "maybe"}), "not a recommendation"),
        (httpx.Response(200, text="garbled"), "not a recommendation"),
    ],
)
async def test_what_is_no_answer_is_a_failure(response: httpx.Response, failure: str) -> None:
    async with gateway(lambda _: response) as client:
        prediction = await (await connect(client, "http://gateway", None, None)).ask("SNPS", EXAMPLE, "brief")
    assert (prediction.action, prediction.failure) == (None, failure)


async def test_a_timeout_is_a_failure_of_one_question() -> None:
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too late", request=request)

    async with gateway(late) as client:
        prediction = await (await connect(client, "http://gateway", None, None)).ask("SNPS", EXAMPLE, "brief")
    assert prediction.failure == "ReadTimeout"


async def test_a_lost_server_is_reported() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with gateway(gone) as client:
        model_client = await connect(client, "http://gateway", None, None)
        with pytest.raises(Unreachable, match="refused"):
            await model_client.ask("SNPS", EXAMPLE, "brief")


async def test_a_busy_server_is_retried(stand_in: StandIn) -> None:
    stand_in.fail("503", times=MAX_ATTEMPTS - 1)
    async with httpx.AsyncClient() as client:
        model_client = await connect(client, stand_in.url, None, stand_in.key)
        assert (await model_client.ask("SNPS", EXAMPLE, "brief")).action
        stand_in.fail("503", times=MAX_ATTEMPTS)
        assert (await model_client.ask("SNPS", EXAMPLE, "brief")).failure == "http 503"


@pytest.mark.parametrize(
    ("mode", "failure"), [("length", "length"), ("malformed", "unparsed_answer"), ("refusal", "unparsed_answer")]
)
async def test_cuts_and_refusals_are_failures(stand_in: StandIn, mode: str, failure: str) -> None:
    stand_in.fail(mode)  # type: ignore[arg-type]
    async with httpx.AsyncClient() as client:
        prediction = await (await connect(client, stand_in.url, None, stand_in.key)).ask("SNPS", EXAMPLE, "brief")
    assert (prediction.action, prediction.failure) == (None, failure)
    assert prediction.completion_tokens > 0


async def test_what_cannot_be_asked_is_all_reported(stand_in: StandIn) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
            await connect(client, "http://127.0.0.1:9", None, None)
        with pytest.raises(Unreachable, match="has no llama: it offers "):
            await connect(client, stand_in.url, "llama", stand_in.key)
    async with gateway(lambda _: httpx.Response(200)) as client:
        with pytest.raises(Unreachable, match="has no llama: it offers mistral, gpt-4"):
            await connect(client, "http://gateway", "llama", None)
    odd = httpx.MockTransport(lambda _: httpx.Response(200, json=["hello"]))
    async with httpx.AsyncClient(transport=odd) as client:
        with pytest.raises(Unreachable, match="neither a gateway"):
            await connect(client, "http://odd", None, None)
