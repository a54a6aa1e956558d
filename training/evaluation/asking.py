"""Asking a backend by URL: a Conviction gateway, or any OpenAI-style server."""

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
from training.evaluation.wire import Backends, Completion, Models, Problem, Recommendation, whole

PATIENCE = 5
"""Times that a server which is busy and says for how long is waited for, before that counts as a failure."""


@dataclass(frozen=True)
class Asked:
    """What came of one question; `failure` says why there is no action."""

    action: Action | None = None
    conviction: int | None = None
    probabilities: Mapping[Action, float] | None = None
    """Of the three actions, summing to one, where the backend tells."""
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
    or the first it lists. Raises `Unreachable` where there is neither, or where it has no such backend."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = url.rstrip("/").removesuffix("/v1")
    try:
        listing = await client.get(f"{root}/v1/backends", headers=headers)
        if listing.status_code == httpx.codes.OK:
            models = {b.name: b.model or b.name for b in Backends.model_validate_json(listing.content).backends}
            name = _chosen(url, backend, models, "mistral")
            return Gateway(client, root, name, models[name], headers)
        listing = await client.get(f"{root}/v1/models", headers=headers)
        listing.raise_for_status()
        served = [model.id for model in Models.model_validate_json(listing.content).data]
    except httpx.HTTPError as error:
        raise Unreachable(f"{url}: {error}") from error
    except ValidationError:
        raise Unreachable(f"{url}: neither a gateway's list of backends nor a server's list of models") from None
    own = next((name for name in served if name.endswith(fingerprint())), served[0] if served else "any")
    return Server(client, root, _chosen(url, backend, dict.fromkeys(served, ""), own), headers)


def _chosen(url: str, wanted: str | None, offered: Mapping[str, str], default: str) -> str:
    name = wanted or default
    if name not in offered:
        raise Unreachable(f"{url} has no {name}: it offers {', '.join(offered) or 'nothing'}")
    return name


class _Remote:
    """A question is one POST; what is not an answer is a failure of this question alone."""

    def __init__(self, client: httpx.AsyncClient, url: str, model: str, headers: Mapping[str, str]) -> None:
        self._client, self._url, self._headers = client, url, headers
        self.model = model

    async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Asked:
        """Raises `Unreachable` where nothing listens any more."""
        try:
            response, seconds = await self._post(self._body(ticker, metrics, detail))
        except httpx.ConnectError as error:
            raise Unreachable(f"{self._url}: {error}") from error
        except httpx.TransportError as error:
            return Asked(failure=type(error).__name__)
        return replace(self._read(response, detail), seconds=seconds)

    async def _post(self, body: Mapping[str, Any]) -> tuple[httpx.Response, float]:
        """The response and the seconds it took, those not counted that a busy server was waited for."""
        for _ in range(PATIENCE):
            start = time.monotonic()
            response = await self._client.post(self._url, json=body, headers=self._headers)
            seconds, pause = time.monotonic() - start, response.headers.get("retry-after", "")
            if response.status_code not in (429, 503) or not pause.isdigit():
                break
            await asyncio.sleep(int(pause))
        return response, seconds

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        raise NotImplementedError

    def _read(self, response: httpx.Response, detail: Detail) -> Asked:
        raise NotImplementedError


class Gateway(_Remote):
    """A Conviction gateway's `/v1/recommendations`."""

    def __init__(
        self, client: httpx.AsyncClient, root: str, backend: str, model: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(client, f"{root}/v1/recommendations", model, {**headers, "X-Backend": backend})

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        return {"ticker": ticker, "metrics": metrics.document(), "detail": detail}

    def _read(self, response: httpx.Response, detail: Detail) -> Asked:  # noqa: ARG002 - the server's needs it
        if response.status_code != httpx.codes.OK:
            problem = whole(Problem, response)
            return Asked(failure=problem.code if problem else f"http {response.status_code}")
        said = whole(Recommendation, response)
        if said is None:
            return Asked(failure="not a recommendation")
        return Asked(said.action, said.conviction, said.probabilities, **said.usage.model_dump())


class Server(_Remote):
    """An OpenAI-style `/v1/chat/completions`, asked as the gateway asks it."""

    def __init__(self, client: httpx.AsyncClient, root: str, model: str, headers: Mapping[str, str]) -> None:
        super().__init__(client, f"{root}/v1/chat/completions", model, headers)

    def _body(self, ticker: str | None, metrics: Metrics, detail: Detail) -> dict[str, Any]:
        dialect = openai_dialect(self.model) if self.model.startswith("gpt-") else VLLM
        body = dialect.request(self.model, messages(metrics, ticker, detail), detail)
        return {name: value for name, value in body.items() if not name.startswith("stream")}

    def _read(self, response: httpx.Response, detail: Detail) -> Asked:
        if response.status_code != httpx.codes.OK:
            return Asked(failure=f"http {response.status_code}")
        completion = whole(Completion, response)
        if completion is None or not completion.choices:
            return Asked(failure="not a completion")
        spent, choice = completion.usage.model_dump(), completion.choices[0]
        if choice.finish_reason == "length":
            return Asked(failure="length", **spent)
        try:
            answer = parse(detail, choice.message.content or "")
        except UnparsedAnswer:
            return Asked(failure="unparsed_answer", **spent)
        tokens = choice.logprobs.content if choice.logprobs else None
        return Asked(answer.action, answer.conviction, label_probabilities(tokens or ()), **spent)
