"""Asking a backend by URL: a Conviction gateway, or any OpenAI-style server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from app.contract.features import Metrics
from app.contract.fingerprint import fingerprint
from app.contract.prompt import Detail, messages
from app.contract.recommendation import ANSWER_TOKENS, Action, UnparsedAnswer, parse, response_format


@dataclass(frozen=True)
class Asked:
    """What came of one question; `failure` says why there is no action."""

    action: Action | None = None
    conviction: int | None = None
    confidence: float | None = None
    """Probability of the action among the three, where the backend tells."""
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Asker(Protocol):
    model: str

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Asked: ...


class Unreachable(ValueError):
    """Nothing that answers like a backend is at the URL."""


async def connect(client: httpx.AsyncClient, url: str, backend: str | None, key: str | None) -> Asker:
    """A gateway where `url` has one, else an OpenAI-style server: `backend`, or the model made for this contract,
    or the first it lists."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = url.rstrip("/").removesuffix("/v1")
    try:
        backends = await client.get(f"{root}/v1/backends", headers=headers)
        if backends.status_code == httpx.codes.OK:
            return Gateway(client, root, backend or "mistral", headers, backends.json())
        models = await client.get(f"{root}/v1/models", headers=headers)
        models.raise_for_status()
        listed = [str(model["id"]) for model in models.json()["data"]]
        own = next((name for name in listed if name.endswith(fingerprint())), listed[0])
        return Server(client, root, backend or own, headers)
    except httpx.HTTPError as error:
        raise Unreachable(f"{url}: {error}") from error


class Gateway:
    """A Conviction gateway's `/v1/recommendations`."""

    def __init__(
        self, client: httpx.AsyncClient, root: str, backend: str, headers: dict[str, str], listing: Any
    ) -> None:
        self._client, self._url = client, f"{root}/v1/recommendations"
        self._headers = {**headers, "X-Backend": backend}
        self.model = next((str(b["model"]) for b in listing["backends"] if b["name"] == backend), backend)

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Asked:
        body = {"ticker": ticker, "metrics": metrics.document(), "detail": detail}
        start = time.monotonic()
        response = await self._client.post(self._url, json=body, headers=self._headers)
        seconds, document = time.monotonic() - start, response.json()
        if response.status_code != httpx.codes.OK:
            return Asked(failure=str(document.get("code", response.status_code)), seconds=seconds)
        usage, masses = document["usage"], document["probabilities"] or {}
        return Asked(
            action=document["action"],
            conviction=document["conviction"],
            confidence=masses.get(document["action"]),
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            seconds=seconds,
        )


class Server:
    """An OpenAI-style `/v1/chat/completions`, asked as the gateway asks it."""

    def __init__(self, client: httpx.AsyncClient, root: str, model: str, headers: dict[str, str]) -> None:
        self._client, self._url, self._headers = client, f"{root}/v1/chat/completions", headers
        self.model = model

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Asked:
        body = {
            "model": self.model,
            "messages": messages(metrics, ticker, detail),
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS[detail],
            "response_format": response_format(detail),
        }
        start = time.monotonic()
        response = await self._client.post(self._url, json=body, headers=self._headers)
        seconds = time.monotonic() - start
        if response.status_code != httpx.codes.OK:
            return Asked(failure=f"http {response.status_code}", seconds=seconds)
        document = response.json()
        usage = document["usage"]
        spent = {"prompt_tokens": usage["prompt_tokens"], "completion_tokens": usage["completion_tokens"]}
        choice = document["choices"][0]
        if choice["finish_reason"] == "length":
            return Asked(failure="length", seconds=seconds, **spent)
        try:
            answer = parse(detail, choice["message"]["content"] or "")
        except UnparsedAnswer:
            return Asked(failure="unparsed_answer", seconds=seconds, **spent)
        return Asked(action=answer.action, conviction=answer.conviction, seconds=seconds, **spent)
