"""Requests and answers: about 1 KB a request, each with a unique serial number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.probabilities import TOP_LOGPROBS
from app.contract.prompt import messages
from app.contract.recommendation import BriefAnswer, canonical
from bench.gateway.upstream_server import SERIAL

KEY = "sk-upstream-0123456789abcdef"
MODEL = "gpt-4.1"
"""The upstream's model, which gateways request for `gpt-4`."""

HOSTED = f"bench-{fingerprint()}"
QUESTION = f"Request {SERIAL}. " + 'Weigh the evidence for and against: "RSI 59.4", MACD above its signal.\n' * 11
WORDS = 16
REPLY = f"Answer to request {SERIAL}: " + "the weight of the evidence is on neither side. " * 10
USAGE = {"prompt_tokens": 240, "completion_tokens": 110, "total_tokens": 350}


@dataclass(frozen=True)
class Task:
    """One kind of request, as files in a folder."""

    path: str
    body: Path
    field: str
    """The name, in its quotes, of the string that is the answer."""
    expected: Path | None
    """None: any text is valid."""
    events: bool = False
    header: str = ""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def chat(folder: Path, model: str, stream: bool = False) -> Task:
    """A chat completion by `model`."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 120}
    if stream:
        body["stream"] = True
    name = f"chat-{model}-{'stream' if stream else 'whole'}"
    return Task(
        "/v1/chat/completions",
        write(folder, f"{name}.json", json.dumps(body)),
        '"content"',
        write(folder, "reply.txt", REPLY),
        events=stream,
    )


def hosted_chat(folder: Path, model: str) -> Task:
    """A streamed completion of a fixed length with unknown text, by vLLM."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        **{"temperature": 0, "max_tokens": 64, "ignore_eos": True},
        **{"stream": True, "stream_options": {"include_usage": True}},
    }
    path = write(folder, f"hosted-{model}.json", json.dumps(body))
    return Task("/v1/chat/completions", path, '"content"', expected=None, events=True)


def recommendation(folder: Path) -> Task:
    """A recommendation by the hosted model from given metrics, without the cache since all are equal."""
    body = {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"}
    return Task(
        "/v1/recommendations",
        write(folder, "recommendation.json", json.dumps(body)),
        '"action"',
        write(folder, "action.txt", "buy"),
        header="Cache-Control: no-store",
    )


def chat_script(folder: Path) -> Path:
    """OpenAI's answer to `chat`, in one piece and as events of about a dozen characters."""
    size = len(REPLY) // WORDS + 1
    parts = [REPLY[start : start + size] for start in range(0, len(REPLY), size)]
    return _script(folder, MODEL, KEY, QUESTION, parts)


def recommendation_script(folder: Path) -> Path:
    """vLLM's answer to the prompt behind `recommendation`, a token an event."""
    question = messages(EXAMPLE, "SNPS", "brief")[0]["content"]
    text = canonical(BriefAnswer(action="buy", conviction=7))
    return _script(folder, HOSTED, "", question, [text[at : at + 3] for at in range(0, len(text), 3)], logprobs=True)


def _script(folder: Path, model: str, key: str, question: str, parts: list[str], *, logprobs: bool = False) -> Path:
    """Write an upstream's request and answers."""
    base = {"id": "chatcmpl-bench", "created": 1764115200, "model": model, "system_fingerprint": "fp_bench"}
    message = {"role": "assistant", "content": "".join(parts)}
    whole = {
        **base,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    events = [f"data: {event}" for event in _events({**base, "object": "chat.completion.chunk"}, parts, logprobs)]
    script = {"model": model, "key": key, "content": question, "answer": json.dumps(whole), "events": events}
    return write(folder, f"upstream-{model}.json", json.dumps(script))


def compact(document: dict[str, Any]) -> str:
    """Return compact JSON, as vLLM and OpenAI send it."""
    return json.dumps(document, separators=(",", ":"))


def _events(base: dict[str, Any], parts: list[str], logprobs: bool) -> Iterator[str]:
    def event(delta: dict[str, str], finish: str | None = None, alternatives: Any = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": alternatives, "finish_reason": finish}
        return compact({**base, "choices": [choice]})

    yield event({"role": "assistant", "content": ""})
    for part in parts:
        yield event({"content": part}, alternatives=_alternatives(part) if logprobs else None)
    yield event({}, "stop")
    yield compact({**base, "choices": [], "usage": USAGE})
    yield "[DONE]"


def _alternatives(token: str) -> dict[str, Any]:
    """Return a token's log-probability and the top ones, in vLLM's format."""
    others = [token[:-1] + letter for letter in "shabcdefgijklmnopqrt" if letter != token[-1]]
    likeliest = [_token(text, -0.1 - rank) for rank, text in enumerate([token, *others][:TOP_LOGPROBS])]
    return {"content": [{**likeliest[0], "top_logprobs": likeliest}]}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
