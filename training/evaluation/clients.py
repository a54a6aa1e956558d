"""Clients that query a backend by URL: a Conviction gateway or an OpenAI-style server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import httpx
from pydantic import ValidationError

from app.backends.dialects import VLLM, openai_dialect
from app.contract.features import Metrics
from app.contract.fingerprint import fingerprint
from app.contract.probabilities import label_probabilities
from app.contract.prompt import Detail, messages
from app.contract.recommendation import Action, UnparsedAnswer, parse
from training.evaluation.wire import Backends, Completion, Models, Problem, Recommendation, parse_body

MAX_ATTEMPTS = 5
"""Requests per question while a busy server answers 429 or 503 with Retry-After; the last response counts."""


@dataclass(frozen=True)
class Prediction:
    """The outcome of one question; `failure` is set if there is no action."""

    action: Action | None = None
    conviction: int | None = None
    probabilities: Mapping[Action, float] | None = None
    """Probability of each action, summing to one, if the backend returns them."""
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class ModelClient(Protocol):
    model: str

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Prediction: ...


class Unreachable(ValueError):
    """No usable backend answers at the URL."""


async def connect(client: httpx.AsyncClient, url: str, backend: str | None, key: str | None) -> ModelClient:
    """Return a client of the gateway at `url`, else of the OpenAI-style server there.

    The model is `backend`, else for a server the one whose id ends in this contract's fingerprint, else its first.
    Raises `Unreachable` if there is neither, or no such backend.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = url.rstrip("/").removesuffix("/v1")
    try:
        listing = await client.get(f"{root}/v1/backends", headers=headers)
        if listing.status_code == httpx.codes.OK:
            models = {b.name: b.model or b.name for b in Backends.model_validate_json(listing.content).backends}
            name = _select(url, backend, models, "mistral")
            return GatewayClient(client, root, name, models[name], headers)
        listing = await client.get(f"{root}/v1/models", headers=headers)
        listing.raise_for_status()
        served = [model.id for model in Models.model_validate_json(listing.content).data]
    except httpx.HTTPError as error:
        raise Unreachable(f"{url}: {error}") from error
    except ValidationError:
        raise Unreachable(f"{url}: neither a gateway's list of backends nor a server's list of models") from None
    own = next((name for name in served if name.endswith(fingerprint())), served[0] if served else "any")
    return ServerClient(client, root, _select(url, backend, dict.fromkeys(served, ""), own), headers)


def _select(url: str, wanted: str | None, offered: Mapping[str, str], default: str) -> str:
    name = wanted or default
    if name not in offered:
        raise Unreachable(f"{url} has no {name}: it offers {', '.join(offered) or 'nothing'}")
    return name


class _HttpClient:
    """Base of the clients: one POST per question; errors of one question become its `failure`."""

    def __init__(self, client: httpx.AsyncClient, url: str, model: str, headers: Mapping[str, str]) -> None:
        self._client, self._url, self._headers = client, url, headers
        self.model = model

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Prediction:
        """Ask one question. Raises `Unreachable` if the connection is refused."""
        try:
            response, seconds = await self._post(self._body(ticker, metrics, detail))
        except httpx.ConnectError as error:
            raise Unreachable(f"{self._url}: {error}") from error
        except httpx.TransportError as error:
            return Prediction(failure=type(error).__name__)
        return replace(self._read(response, detail), seconds=seconds)

    async def _post(self, body: Mapping[str, Any]) -> tuple[httpx.Response, float]:
        """Return the response and its seconds, without the pauses that a busy server asked for."""
        for _ in range(MAX_ATTEMPTS):
            start = time.monotonic()
            response = await self._client.post(self._url, json=body, headers=self._headers)
            seconds, pause = time.monotonic() - start, response.headers.get("retry-after", "")
            if response.status_code not in (429, 503) or not pause.isdigit():
                break
            await asyncio.sleep(int(pause))
        return response, seconds

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        raise NotImplementedError

    def _read(self, response: httpx.Response, detail: Detail) -> Prediction:
        raise NotImplementedError


class GatewayClient(_HttpClient):
    """Client of a Conviction gateway's `/v1/recommendations`."""

    def __init__(
        self, client: httpx.AsyncClient, root: str, backend: str, model: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(client, f"{root}/v1/recommendations", model, {**headers, "X-Backend": backend})

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        return {"ticker": ticker, "metrics": metrics.document(), "detail": detail}

    def _read(self, response: httpx.Response, detail: Detail) -> Prediction:  # noqa: ARG002 - ServerClient uses it
        if response.status_code != httpx.codes.OK:
            problem = parse_body(Problem, response)
            return Prediction(failure=problem.code if problem else f"http {response.status_code}")
        answer = parse_body(Recommendation, response)
        if answer is None:
            return Prediction(failure="not a recommendation")
        return Prediction(answer.action, answer.conviction, answer.probabilities, **answer.usage.model_dump())


class ServerClient(_HttpClient):
    """Client of an OpenAI-style `/v1/chat/completions`, with the gateway's own requests."""

    def __init__(self, client: httpx.AsyncClient, root: str, model: str, headers: Mapping[str, str]) -> None:
        super().__init__(client, f"{root}/v1/chat/completions", model, headers)

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        dialect = openai_dialect(self.model) if self.model.startswith("gpt-") else VLLM
        body = dialect.request(self.model, messages(metrics, ticker, detail), detail)
        return {name: value for name, value in body.items() if not name.startswith("stream")}

    def _read(self, response: httpx.Response, detail: Detail) -> Prediction:
        if response.status_code != httpx.codes.OK:
            return Prediction(failure=f"http {response.status_code}")
        completion = parse_body(Completion, response)
        if completion is None or not completion.choices:
            return Prediction(failure="not a completion")
        spent, choice = completion.usage.model_dump(), completion.choices[0]
        if choice.finish_reason == "length":
            return Prediction(failure="length", **spent)
        try:
            answer = parse(detail, choice.message.content or "")
        except UnparsedAnswer:
            return Prediction(failure="unparsed_answer", **spent)
        tokens = choice.logprobs.content if choice.logprobs else None
        found = label_probabilities(tokens or ())
        return Prediction(answer.action, answer.conviction, found.values if found else None, **spent)
