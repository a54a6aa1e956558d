from __future__ import annotations

import html
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from hypothesis import given
from hypothesis import strategies as st

from app import rules
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.stand_in import create_stand_in
from tests.conftest import served
from training.responses import Backend, backend, cell, responses, table

KEY = "sk-standInKeyThatNobodyMaySee"
SAID = "Calls | puts\n<b>buy</b>"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    with served(create_stand_in(key=KEY)) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def free_speaker() -> Iterator[str]:
    """An OpenAI-style server that takes no schema, and says how its request read."""
    app = FastAPI(openapi_url=None)

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"data": [{"id": "raw-7b"}, {"id": f"toy-1-{fingerprint()}"}]})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        expected = {"model", "messages", "temperature", "max_tokens"}
        if set(body) != expected or body["messages"] != messages(EXAMPLE, "SNPS", "full"):
            return JSONResponse({"error": {"message": "not the raw prompt"}}, 400)
        choice = {"message": {"content": SAID}, "finish_reason": "length"}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    with served(app) as url:
        yield url


async def test_a_stand_ins_answer_is_the_rules_and_is_called_a_stand_ins(stand_in: str) -> None:
    (response,) = await responses([Backend("stand-in", stand_in, key=KEY)])
    answer = rules.answer(EXAMPLE, "full")
    assert response.nature == "stand-in"
    assert response.text.startswith(f"**{answer.action}**, conviction {answer.conviction}/10\n\n")
    assert response.text.endswith(answer.model_dump()["analysis"])


@pytest.mark.parametrize(("stands_in", "nature"), [(True, "stand-in"), (False, "raw")])
async def test_a_gateway_is_asked_for_its_backend_and_tells_whether_it_stands_in(stands_in: bool, nature: str) -> None:
    app = FastAPI(openapi_url=None)

    @app.get("/v1/backends")
    async def backends() -> Response:
        return JSONResponse({"backends": [{"name": "gpt-4", "model": "gpt-4.1"}]})

    @app.post("/v1/recommendations")
    async def recommend(request: Request) -> Response:
        body = await request.json()
        assert (body["ticker"], body["detail"], request.headers["x-backend"]) == ("SNPS", "full", "gpt-4")
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        answer = {"action": "hold", "conviction": 3, "probabilities": None, "usage": usage}
        return JSONResponse({**answer, "analysis": "Mixed.", "stand_in": stands_in})

    with served(app) as url:
        asked, free = await responses([Backend("g", url, "gpt-4"), Backend("f", url, "gpt-4", free=True)])
    assert (asked.nature, asked.model, asked.text) == (nature, "gpt-4.1", "**hold**, conviction 3/10\n\nMixed.")
    assert free.text.startswith("**failed**: a gateway answers in the contract's form only")


async def test_free_text_is_asked_for_without_a_schema_and_says_where_it_was_cut(free_speaker: str) -> None:
    raw, tuned = await responses(
        [
            Backend("raw", free_speaker, "raw-7b", free=True, parameters="7B"),
            Backend("tuned", free_speaker, free=True),
        ]
    )
    assert raw.nature == "raw"
    assert tuned.nature == "fine-tuned"
    assert tuned.model == f"toy-1-{fingerprint()}"
    assert raw.text == f"{SAID}\n\n*cut off at 512 tokens*"
    row = [*table([raw])][-1]
    assert row == (
        "| raw | raw-7b | raw | 7B | Calls &#124; puts<br>&lt;b&gt;buy&lt;/b&gt;<br><br>*cut off at 512 tokens* |"
    )


async def test_failures_are_rows_and_no_hindrance_to_others(stand_in: str, free_speaker: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{bound.getsockname()[1]}"
        given = await responses(
            [
                Backend("nobody", nobody),
                Backend("wrong key", stand_in, key="sk-wrongKeyThatNobodyMaySee"),
                Backend("no such model", stand_in, "gpt-9", key=KEY),
                Backend("takes no schema", free_speaker),
                Backend("needs a schema", stand_in, "gpt-4.1", free=True, key=KEY),
                Backend("well", stand_in, key=KEY),
            ]
        )
    assert [response.text.startswith("**failed**: ") for response in given] == [True] * 5 + [False]
    assert "http 400" in given[3].text
    assert "http 400" in given[4].text
    assert "has no gpt-9" in given[2].text
    assert "NobodyMaySee" not in "\n".join(table(given))


def test_a_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(Backend("a", "http://a", key=KEY))


def test_a_backend_is_read_from_its_spec() -> None:
    read = backend("gpt-4=https://api.example/v1#gpt-4.1", False, {"gpt-4": "175B"}, {"gpt-4": KEY})
    assert read == Backend("gpt-4", "https://api.example/v1", "gpt-4.1", False, "175B", KEY)
    assert backend("a=http://127.0.0.1:1", True, {}, {}) == Backend("a", "http://127.0.0.1:1", free=True)


@pytest.mark.parametrize("spec", ["", "a", "=http://a", "a=", "a=ftp://a", "a=http://", "http://a/?b=c"])
def test_what_is_no_spec_is_told(spec: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=URL"):
        backend(spec, False, {}, {})


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="no credentials in an address") as caught:
        backend("a=http://user:secret@host", False, {}, {})
    assert "secret" not in str(caught.value)


@given(st.text())
def test_a_cell_is_one_cell_of_one_line_and_loses_nothing(text: str) -> None:
    shown = cell(text)
    assert "|" not in shown
    assert len(shown.splitlines()) <= 1
    assert html.unescape(shown.replace("<br>", "\n")) == "\n".join(text.splitlines())
