"""Side-by-side answers of several backends to the case study's SNPS prompt, as a Markdown table."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx
from pydantic import BaseModel, ValidationError

from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import PROMPT_VERSION, messages
from app.contract.recommendation import parse
from training.evaluation.clients import GatewayClient, ModelClient, Unreachable, connect
from training.evaluation.wire import Completion, parse_body

TICKER = "SNPS"
RAW_TOKENS = 512
"""Maximum tokens of a free-text answer."""
TIMEOUT_S = 600
TUNED = re.compile(r"-[0-9a-f]{12}$")
"""Model ids made here end in the fingerprint of their contract."""

Nature = Literal["fine-tuned", "raw", "stand-in"]


@dataclass(frozen=True)
class Backend:
    """A backend to query; `free` asks for free text, as the case study did, instead of the contract's form."""

    name: str
    url: str
    model: str | None = None
    free: bool = False
    parameters: str = "-"
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Response:
    """A backend's response; `nature` is None if it failed."""

    name: str
    model: str
    parameters: str
    text: str
    nature: Nature | None = None


class _Analysed(BaseModel):
    """Fields of a gateway's answer that `wire.Recommendation` leaves out."""

    analysis: str
    stand_in: bool


def backends(
    in_form: Sequence[str],
    free: Sequence[str],
    parameters: Sequence[str],
    variables: Sequence[str],
    environment: Mapping[str, str],
) -> list[Backend]:
    """Parse the command's NAME=URL[#MODEL], NAME=SIZE and NAME=VARIABLE options.

    Raises `ValueError` listing every invalid option.
    """
    sizes, keys = (dict(_named(option) for option in options) for options in (parameters, variables))
    found, problems = [], []
    for spec in (*in_form, *free):
        name, address = _named(spec)
        variable = keys.pop(name, None)
        key = environment.get(variable) if variable else None
        if problem := _problem(spec, address, variable, key):
            problems.append(problem)
        url, _, model = address.partition("#")
        found.append(Backend(name, url, model or None, spec in free, sizes.pop(name, "-"), key))
    if not found:
        problems.append("no backend is given: --backend or --raw NAME=URL[#MODEL]")
    problems += [f"{name} is not the name of exactly one backend" for name in (*sizes, *keys)]
    if problems:
        raise ValueError("; ".join(problems))
    return found


def _named(option: str) -> tuple[str, str]:
    name, _, value = option.partition("=")
    return name, value


def _problem(spec: str, address: str, variable: str | None, key: str | None) -> str | None:
    name, url = spec.partition("=")[0], httpx.URL(address)
    if url.userinfo:
        return f"{name}: no credentials in an address; --key names the variable that holds them"
    if not name or url.scheme not in ("http", "https") or not url.host:
        return f"{spec!r} is not NAME=URL[#MODEL]"
    return f"{name}: the environment variable {variable} is not set" if variable and not key else None


async def responses(queried: Sequence[Backend]) -> list[Response]:
    """Query all backends concurrently; a failure becomes a response that states its reason."""
    return list(await asyncio.gather(*(_response(backend) for backend in queried)))


async def _response(backend: Backend) -> Response:
    received: list[httpx.Response] = []

    async def receive(response: httpx.Response) -> None:
        await response.aread()
        received.append(response)

    async with httpx.AsyncClient(timeout=TIMEOUT_S, event_hooks={"response": [receive]}) as client:
        try:
            model_client = await connect(client, backend.url, backend.model, backend.key)
            text = await (
                _free(client, model_client, backend) if backend.free else _contract_form(model_client, received)
            )
        except (Unreachable, httpx.HTTPError) as error:
            return _failed(backend, str(error) or type(error).__name__)
        except ValidationError as error:
            return _failed(backend, f"invalid answer: {error.errors(include_input=False)[0]['msg']}")
    return Response(backend.name, model_client.model, backend.parameters, text, _nature(model_client, received[-1]))


def _failed(backend: Backend, why: str) -> Response:
    return Response(backend.name, backend.model or "-", backend.parameters, f"**failed**: {why.splitlines()[0]}")


async def _contract_form(model_client: ModelClient, received: Sequence[httpx.Response]) -> str:
    """Return action, conviction and analysis as Markdown; the analysis is read from the raw response."""
    prediction = await model_client.ask(TICKER, EXAMPLE, "full")
    if prediction.failure:
        return f"**failed**: {prediction.failure}"
    return f"**{prediction.action}**, conviction {prediction.conviction}/10\n\n{_analysis(model_client, received[-1])}"


def _analysis(model_client: ModelClient, response: httpx.Response) -> str:
    if isinstance(model_client, GatewayClient):
        return _Analysed.model_validate_json(response.content).analysis
    completion = Completion.model_validate_json(response.content)
    return str(parse("full", completion.choices[0].message.content or "").model_dump()["analysis"])


async def _free(client: httpx.AsyncClient, model_client: ModelClient, backend: Backend) -> str:
    """Return the answer to the same prompt without a schema."""
    if isinstance(model_client, GatewayClient):
        raise Unreachable("a gateway answers in the contract's form only; give the model server's own address")
    body = {
        "model": model_client.model,
        "messages": messages(EXAMPLE, TICKER, "full"),
        "temperature": 0,
        "max_tokens": RAW_TOKENS,
    }
    headers = {"Authorization": f"Bearer {backend.key}"} if backend.key else {}
    root = backend.url.rstrip("/").removesuffix("/v1")
    response = await client.post(f"{root}/v1/chat/completions", json=body, headers=headers)
    completion = parse_body(Completion, response) if response.is_success else None
    if completion is None or not completion.choices:
        return f"**failed**: http {response.status_code}, no completion"
    choice = completion.choices[0]
    cut = f"\n\n*cut off at {RAW_TOKENS} tokens*" if choice.finish_reason == "length" else ""
    return (choice.message.content or "") + cut


def _nature(model_client: ModelClient, response: httpx.Response) -> Nature:
    """Return the kind of model; a stand-in declares itself in a header, or in a gateway's answer."""
    analysed = parse_body(_Analysed, response) if isinstance(model_client, GatewayClient) else None
    if (analysed and analysed.stand_in) or "x-stand-in" in response.headers:
        return "stand-in"
    return "fine-tuned" if TUNED.search(model_client.model) else "raw"


def table(given: Sequence[Response]) -> Iterator[str]:
    """Yield the Markdown lines, with one row per response."""
    yield f"# Answers to the {TICKER} prompt\n"
    yield (
        f"The case study's figures of {TICKER} on {EXAMPLE.as_of}, those it does not print filled in; the same prompt "
        f"(version {PROMPT_VERSION}, with analysis) for all, temperature 0. A stand-in's answer is the rule-based "
        "analyst's and no model's."
    )
    yield "\n| | model | nature | parameters | response |\n| --- | --- | --- | --- | --- |"
    for one in given:
        cells = one.name, one.model, one.nature or "-", one.parameters, one.text
        yield f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Return text escaped for one table cell: it can neither end the cell nor contain HTML."""
    return "<br>".join(html.escape(text, quote=False).replace("|", "&#124;").splitlines())
