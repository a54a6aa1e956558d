"""The stand-in's HTTP protocol."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from app.backends.dialects import VLLM, openai_dialect
from app.backends.http_transport import NO_KEY
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer

from ..conftest import StandIn

MISTRAL = f"stand-in/mistral-{fingerprint()}"
BRIEF = messages(EXAMPLE, "SNPS", "brief")
CHAT = "/chat/completions"


def body(model: str = "gpt-4.1", **changed: Any) -> dict[str, Any]:
    """Return an accepted request with changes; a field changed to None is removed."""
    dialect = openai_dialect(model) if model.startswith("gpt-") else VLLM
    request = dialect.request(model, BRIEF, "brief") | changed
    return {name: value for name, value in request.items() if value is not None}


def ask(stand_in: StandIn, document: Any, key: str | None = None, **headers: str) -> httpx.Response:
    authorization = {"Authorization": f"Bearer {stand_in.key if key is None else key}"}
    with httpx.Client(base_url=stand_in.url, trust_env=False, headers=authorization | headers) as client:
        return client.post(CHAT, json=document)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_completion(stand_in: StandIn) -> None:
    response = ask(stand_in, body(stream=None, stream_options=None))
    assert response.status_code == 200
    document = response.json()
    (choice,) = document["choices"]
    assert choice["message"]["content"] == canonical(answer(EXAMPLE, "brief"))
    assert choice["finish_reason"] == "stop"
    assert len(choice["logprobs"]["content"]) == document["usage"]["completion_tokens"]
    assert document["model"] == "stand-in/gpt-4.1"
    assert document["system_fingerprint"] == "stand-in"
    assert response.headers["x-stand-in"] == "true"


def test_a_stream(stand_in: StandIn) -> None:
    response = ask(stand_in, body(MISTRAL))
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage = events(response)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == canonical(
        answer(EXAMPLE, "brief")
    )
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    tokens = [chunk["choices"][0]["logprobs"]["content"][0] for chunk in chunks[1:-1]]
    assert all(len(token["top_logprobs"]) == 20 for token in tokens)


def test_options_that_are_not_requested_are_omitted(stand_in: StandIn) -> None:
    chunks = events(ask(stand_in, body(logprobs=None, top_logprobs=None, stream_options=None)))
    assert all(chunk["usage"] is None and chunk["choices"][0]["logprobs"] is None for chunk in chunks)


def test_a_limit_cuts_the_answer(stand_in: StandIn) -> None:
    chunks = events(ask(stand_in, body(max_completion_tokens=3)))
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_vllm_s_models_report_usage_with_each_event(stand_in: StandIn) -> None:
    *chunks, last = events(ask(stand_in, body(MISTRAL)))
    reported = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert reported == [*range(len(chunks) - 1), len(chunks) - 2]
    assert {chunk["usage"]["prompt_tokens"] for chunk in chunks} == {last["usage"]["prompt_tokens"]}
    chunks = events(ask(stand_in, body(MISTRAL, stream_options={"include_usage": True})))
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def schema_with(**changed: Any) -> dict[str, Any]:
    form: dict[str, Any] = body()["response_format"]
    return form | {"json_schema": form["json_schema"] | changed}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (body(n=1), "n"),
    (body(guided_json={}), "guided_json"),
    (body(top_p=1), "top_p"),
    (body() | {"model": 7}, "model"),
    (body(messages=None), "messages"),
    (body(messages=[]), "messages"),
    (body(messages=[*BRIEF, *BRIEF]), "messages"),
    (body(messages=[{"role": "system", "content": "Be bold."}]), "messages.0.role"),
    (body(messages=[BRIEF[0] | {"name": "me"}]), "messages.0.name"),
    (body(messages=[{"role": "user", "content": "Which stock?"}]), "messages"),
    (body(messages=[{"role": "user", "content": ["Which stock?"]}]), "messages.0.content"),
    (body(temperature=0.7), "temperature"),
    (body(temperature=None), "temperature"),
    (body(temperature="0"), "temperature"),
    (body(stream="true"), "stream"),
    (body(stream=None), "stream_options"),
    (body(stream_options={"include_usage": True, "more": 1}), "stream_options.more"),
    (body(stream_options={"include_usage": True, "continuous_usage_stats": True}), "stream_options"),
    (body(logprobs=None), "top_logprobs"),
    (body(top_logprobs=21), "top_logprobs"),
    (body(max_tokens=10), "max_tokens"),
    (body(max_completion_tokens=None), "max_completion_tokens"),
    (body(max_completion_tokens=0), "max_completion_tokens"),
    (body(reasoning_effort="none"), "reasoning_effort"),
    (body(response_format=None), "response_format"),
    (body(response_format={"type": "json_object"}), "response_format"),
    (body(response_format=schema_with(strict=False)), "response_format"),
    (body(response_format=schema_with(schema={})), "response_format"),
    (body(response_format=VLLM.request("m", BRIEF, "full")["response_format"]), "response_format"),
    (body(MISTRAL, max_completion_tokens=5), "max_completion_tokens"),
    (
        body(
            MISTRAL,
            messages=messages(EXAMPLE, None, "full"),
            response_format=openai_dialect("gpt-4.1").request("m", BRIEF, "full")["response_format"],
        ),
        "response_format",
    ),
]


@pytest.mark.parametrize(("document", "param"), REFUSALS)
def test_requests_that_the_servers_reject_are_refused(document: dict[str, Any], param: str, stand_in: StandIn) -> None:
    response = ask(stand_in, document)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert response.headers["x-stand-in"] == "true"


@pytest.mark.parametrize(
    ("model", "changed", "accepted"),
    [
        ("gpt-6-luna", {}, True),
        ("gpt-6-luna", {"reasoning_effort": None}, False),
        ("gpt-6-luna", {"reasoning_effort": "low"}, False),
        ("gpt-6.1-sol", {}, True),
        ("gpt-6.1-sol", {"temperature": 0}, False),
        ("gpt-6.1-sol", {"reasoning_effort": "none"}, False),
        ("gpt-6.1-sol", {"logprobs": True}, False),
    ],
)
def test_reasoning_models_have_their_own_rules(
    model: str, changed: dict[str, Any], accepted: bool, stand_in_of_all: StandIn
) -> None:
    assert (ask(stand_in_of_all, body(model, **changed)).status_code == 200) == accepted


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"model": "gpt-4.1"', b"\xff"])
def test_a_body_that_is_no_request_is_refused(content: bytes, stand_in: StandIn) -> None:
    headers = {"Authorization": f"Bearer {stand_in.key}"}
    response = httpx.post(stand_in.url + CHAT, content=content, headers=headers, trust_env=False)
    assert response.status_code == 400


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer wrong"}])
def test_no_key_or_a_wrong_one(headers: dict[str, str], stand_in: StandIn) -> None:
    with httpx.Client(base_url=stand_in.url, trust_env=False, headers=headers) as client:
        for response in (client.get("/models"), client.post(CHAT, json=body())):
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"


def test_without_a_key_only_vllm_s_models_are_accessible(stand_in: StandIn) -> None:
    assert ask(stand_in, body(MISTRAL), key=NO_KEY).status_code == 200
    assert ask(stand_in, body("gpt-4.1"), key=NO_KEY).status_code == 404
    response = httpx.get(f"{stand_in.url}/models", headers={"Authorization": f"Bearer {NO_KEY}"}, trust_env=False)
    assert [model["id"] for model in response.json()["data"]] == [MISTRAL]


def test_an_unknown_model(stand_in: StandIn) -> None:
    response = ask(stand_in, body("gpt-4o"))
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


def test_a_header_makes_one_request_fail(stand_in: StandIn) -> None:
    response = ask(stand_in, body(), **{"X-Stand-In-Fail": "429"})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert ask(stand_in, body()).status_code == 200
    assert ask(stand_in, body(), **{"X-Stand-In-Fail": "sulk"}).status_code == 400


def test_a_failure_applies_to_the_requested_number_of_requests(stand_in: StandIn) -> None:
    stand_in.fail("503", times=2, retry_after=7)
    responses = [ask(stand_in, body()) for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 503, 200]
    assert responses[0].headers["retry-after"] == "7"


@pytest.mark.parametrize("streamed", [True, None])
def test_an_answer_may_be_delayed(streamed: bool | None, stand_in: StandIn) -> None:
    failure = {"mode": "late", "delay": 0.3}
    httpx.post(f"{stand_in.origin}/stand-in/fail", json=failure, trust_env=False).raise_for_status()
    started = time.monotonic()
    response = ask(stand_in, body(stream=streamed, stream_options=None))
    assert response.status_code == 200
    assert time.monotonic() - started >= 0.3


def test_an_answer_may_be_sent_in_small_writes(stand_in: StandIn) -> None:
    complete = ask(stand_in, body(max_completion_tokens=1, top_logprobs=1))
    stand_in.fail("drip")
    authorization = {"Authorization": f"Bearer {stand_in.key}"}
    request = body(max_completion_tokens=1, top_logprobs=1)
    with httpx.stream("POST", stand_in.url + CHAT, json=request, headers=authorization, trust_env=False) as response:
        writes = list(response.iter_raw())
    assert max(map(len, writes)) < 200
    assert len(writes) > len(events(complete))


@pytest.mark.parametrize("streamed", [True, None])
def test_the_tally_counts_the_tokens_that_were_sent(streamed: bool | None, stand_in: StandIn) -> None:
    before = stand_in.tally()
    response = ask(stand_in, body(stream=streamed, stream_options={"include_usage": True} if streamed else None))
    usage = events(response)[-1]["usage"] if streamed else response.json()["usage"]
    after = stand_in.tally()
    for count in ("prompt_tokens", "completion_tokens"):
        assert after[count] - before[count] == usage[count]
    assert after["answered"] == before["answered"] + 1


@pytest.mark.parametrize("failure", [{"mode": "sulk"}, {"mode": "500", "times": -1}, {"mode": "500", "more": 1}, {}])
def test_an_invalid_failure_is_refused(failure: dict[str, Any], stand_in: StandIn) -> None:
    response = httpx.post(f"{stand_in.origin}/stand-in/fail", json=failure, trust_env=False)
    assert response.status_code == 400


def test_other_addresses(stand_in: StandIn) -> None:
    with httpx.Client(base_url=stand_in.origin, trust_env=False) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/v1/chat/completions").status_code == 405
        missing = client.get("/v1/embeddings")
        assert missing.status_code == 404
        assert missing.json()["error"]["message"] == "Not Found"
        assert missing.headers["x-stand-in"] == "true"
