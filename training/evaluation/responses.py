"""The case study's side-by-side: what every backend given says to the SNPS prompt, as a Markdown table."""

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
from training.evaluation.asking import Asker, Gateway, Unreachable, connect
from training.evaluation.wire import Completion, whole

TICKER = "SNPS"
RAW_TOKENS = 512
"""Length of a free answer at most."""
TIMEOUT_S = 600
TUNED = re.compile(r"-[0-9a-f]{12}$")
"""Ids of models made here end in the fingerprint of the contract they were taught."""

Nature = Literal["fine-tuned", "raw", "stand-in"]


@dataclass(frozen=True)
class Backend:
    """Whom to ask. `free`: for free text, as the case study asked its raw models, not in the contract's form."""

    name: str
    url: str
    model: str | None = None
    free: bool = False
    parameters: str = "-"
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Response:
    """What came of it. `nature` is None where nobody answered."""

    name: str
    model: str
    parameters: str
    text: str
    nature: Nature | None = None


class _Analysed(BaseModel):
    """What a gateway's answer has beside what an examination reads."""

    analysis: str
    stand_in: bool


def backends(
    in_form: Sequence[str],
    free: Sequence[str],
    parameters: Sequence[str],
    variables: Sequence[str],
    environment: Mapping[str, str],
) -> list[Backend]:
    """Read NAME=URL[#MODEL] of those to ask in the contract's form and freely, NAME=SIZE and NAME=VARIABLE of some.

    Raises `ValueError` with everything that is wrong.
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
    problems += [f"{name} is no backend given once" for name in (*sizes, *keys)]
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
    return f"{name}: the environment has no {variable}" if variable and not key else None


async def responses(asked: Sequence[Backend]) -> list[Response]:
    """Ask them all at once. One that fails is a response that says so."""
    return list(await asyncio.gather(*(_response(backend) for backend in asked)))


async def _response(backend: Backend) -> Response:
    heard: list[httpx.Response] = []

    async def hear(response: httpx.Response) -> None:
        await response.aread()
        heard.append(response)

    async with httpx.AsyncClient(timeout=TIMEOUT_S, event_hooks={"response": [hear]}) as client:
        try:
            asker = await connect(client, backend.url, backend.model, backend.key)
            text = await (_free(client, asker, backend) if backend.free else _in_form(asker, heard))
        except (Unreachable, httpx.HTTPError) as error:
            return _failed(backend, str(error) or type(error).__name__)
        except ValidationError as error:
            return _failed(backend, f"its answer is none: {error.errors(include_input=False)[0]['msg']}")
    return Response(backend.name, asker.model, backend.parameters, text, _nature(asker, heard[-1]))


def _failed(backend: Backend, why: str) -> Response:
    return Response(backend.name, backend.model or "-", backend.parameters, f"**failed**: {why.splitlines()[0]}")


async def _in_form(asker: Asker, heard: Sequence[httpx.Response]) -> str:
    """Action, conviction and analysis; the analysis is read off the wire, since an examination has no use for it."""
    asked = await asker.ask(TICKER, EXAMPLE, "full")
    if asked.failure:
        return f"**failed**: {asked.failure}"
    return f"**{asked.action}**, conviction {asked.conviction}/10\n\n{_analysis(asker, heard[-1])}"


def _analysis(asker: Asker, response: httpx.Response) -> str:
    if isinstance(asker, Gateway):
        return _Analysed.model_validate_json(response.content).analysis
    completion = Completion.model_validate_json(response.content)
    return str(parse("full", completion.choices[0].message.content or "").model_dump()["analysis"])


async def _free(client: httpx.AsyncClient, asker: Asker, backend: Backend) -> str:
    """The same prompt without a schema for the answer."""
    if isinstance(asker, Gateway):
        raise Unreachable("a gateway answers in the contract's form only; give the model server's own address")
    body = {
        "model": asker.model,
        "messages": messages(EXAMPLE, TICKER, "full"),
        "temperature": 0,
        "max_tokens": RAW_TOKENS,
    }
    headers = {"Authorization": f"Bearer {backend.key}"} if backend.key else {}
    root = backend.url.rstrip("/").removesuffix("/v1")
    response = await client.post(f"{root}/v1/chat/completions", json=body, headers=headers)
    completion = whole(Completion, response) if response.is_success else None
    if completion is None or not completion.choices:
        return f"**failed**: http {response.status_code}, no completion"
    choice = completion.choices[0]
    cut = f"\n\n*cut off at {RAW_TOKENS} tokens*" if choice.finish_reason == "length" else ""
    return (choice.message.content or "") + cut


def _nature(asker: Asker, response: httpx.Response) -> Nature:
    """A stand-in says so in a header, and a gateway that asked one in its answer."""
    analysed = whole(_Analysed, response) if isinstance(asker, Gateway) else None
    if (analysed and analysed.stand_in) or "x-stand-in" in response.headers:
        return "stand-in"
    return "fine-tuned" if TUNED.search(asker.model) else "raw"


def table(given: Sequence[Response]) -> Iterator[str]:
    """Markdown, a row for each."""
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
    """Text as one cell: what a model wrote can neither end the cell nor be taken for HTML."""
    return "<br>".join(html.escape(text, quote=False).replace("|", "&#124;").splitlines())
