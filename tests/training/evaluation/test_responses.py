from __future__ import annotations

import html
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from hypothesis import given
from hypothesis import strategies as st

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.stand_in import create_stand_in
from tests.conftest import served
from training.cli.main import main
from training.evaluation.responses import Backend, backends, cell, responses, table

KEY = "sk-standInKeyThatNobodyMaySee"
OUTCOMES = "Calls | puts\n<b>buy</b>"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    with served(create_stand_in(key=KEY)) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def free_speaker() -> Iterator[str]:
    """An OpenAI-style server that takes no schema, and echoes its request."""
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
        choice = {"message": {"content": OUTCOMES}, "finish_reason": "length"}
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
async def test_a_gateway_is_asked_for_its_backend_and_returns_whether_it_is_a_stand_in(
    stands_in: bool, nature: str
) -> None:
    app = FastAPI(openapi_url=None)

    @app.get("/v1/backends")
    async def listing() -> Response:
        return JSONResponse({"backends": [{"name": "gpt-4", "model": "gpt-4.1"}]})

    @app.post("/v1/recommendations")
    async def recommend(request: Request) -> Response:
        body = await request.json()
        assert (body["ticker"], body["detail"], request.headers["x-backend"]) == ("SNPS", "full", "gpt-4")
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        answer = {"action": "hold", "conviction": 3, "probabilities": None, "usage": usage}
        return JSONResponse({**answer, "analysis": "Mixed.", "stand_in": stands_in})

    with served(app) as url:
        wanted, free = await responses([Backend("g", url, "gpt-4"), Backend("f", url, "gpt-4", free=True)])
    assert (wanted.nature, wanted.model, wanted.text) == (nature, "gpt-4.1", "**hold**, conviction 3/10\n\nMixed.")
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
    assert raw.text == f"{OUTCOMES}\n\n*cut off at 512 tokens*"
    row = [*table([raw])][-1]
    assert row == (
        "| raw | raw-7b | raw | 7B | Calls &#124; puts<br>&lt;b&gt;buy&lt;/b&gt;<br><br>*cut off at 512 tokens* |"
    )


async def test_failures_are_rows_and_do_not_affect_others(stand_in: str, free_speaker: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        unreachable = f"http://127.0.0.1:{bound.getsockname()[1]}"
        given = await responses(
            [
                Backend("unreachable", unreachable),
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


def test_backends_are_read_from_options() -> None:
    in_form, free = ["gpt-4=https://api.example/v1#gpt-4.1"], ["a=http://127.0.0.1:1"]
    read = backends(in_form, free, ["gpt-4=175B"], ["gpt-4=THE_KEY"], {"THE_KEY": KEY})
    assert read == [
        Backend("gpt-4", "https://api.example/v1", "gpt-4.1", False, "175B", KEY),
        Backend("a", "http://127.0.0.1:1", free=True),
    ]


@pytest.mark.parametrize("spec", ["", "a", "=http://a", "a=", "a=ftp://a", "a=http://", "http://a/?b=c"])
def test_what_is_no_backend_is_reported(spec: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=URL"):
        backends([spec], [], [], [], {})


def test_all_that_is_wrong_is_all_reported_without_secrets() -> None:
    with pytest.raises(ValueError) as caught:
        backends(["a=http://user:secret@host", "b=x", "c=http://c"], [], ["d=7B"], ["c=NO_KEY"], {})
    for message in (
        "a: no credentials in an address",
        "'b=x' is not NAME=URL",
        "c: the environment variable NO_KEY is not set",
        "d is not the name of exactly one backend",
    ):
        assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="no backend is given"):
        backends([], [], [], [], {})


@given(st.text())
def test_a_cell_is_one_cell_of_one_line_and_loses_nothing(text: str) -> None:
    shown = cell(text)
    assert "|" not in shown
    assert len(shown.splitlines()) <= 1
    assert html.unescape(shown.replace("<br>", "\n")) == "\n".join(text.splitlines())


def test_the_command_writes_the_table(stand_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    out = tmp_path / "docs" / "responses.md"
    main(["responses", "--backend", f"m={stand_in}", "--key", "m=A_KEY", "--parameters", "m=7B", "--out", str(out)])
    row = out.read_text().splitlines()[-1]
    assert row.startswith(f"| m | stand-in/mistral-{fingerprint()} | stand-in | 7B | **")
    assert KEY not in out.read_text()
