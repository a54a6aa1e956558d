"""/v1/comparisons over HTTP: both sides, pages, the report, and what is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api import pairs_csv
from app.api.comparison_queries import MAX_PAGE
from app.contract.completion import BACKEND_NAMES
from app.contract.prompt import PROMPT_VERSION
from app.contract.recommendation import ACTIONS, BriefAnswer, canonical
from app.errors import BackendError
from tests.doubles import EXAMPLE_BODY, Gateway, completion, gateway

Json = dict[str, Any]
ADMIN = "0123456789abcdef"
BUY = completion(canonical(BriefAnswer(action="buy", conviction=8)), model="buyer")
SELL = completion(canonical(BriefAnswer(action="sell", conviction=3)), model="=seller")


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store) as running:
        yield running


async def compare(running: Gateway, body: object = None, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await running.client.post("/v1/comparisons", json=EXAMPLE_BODY if body is None else body, headers=names)


async def get(running: Gateway, path: str = "", **parameters: Any) -> httpx.Response:
    named = {"from" if name == "start" else name: value for name, value in parameters.items()}
    return await running.client.get(f"/v1/comparisons{path}", params=named)


# A comparison


async def test_the_answer_has_both_sides(running: Gateway) -> None:
    response = await compare(running, EXAMPLE_BODY | {"detail": "full"})
    assert response.status_code == 200
    answer: Json = response.json()
    assert (answer["ticker"], answer["detail"], answer["agree"], answer["stored"]) == ("SNPS", "full", True, True)
    assert tuple(answer["sides"]) == BACKEND_NAMES
    for name, side in answer["sides"].items():
        assert (side["status"], side["problem"]) == (200, None)
        assert side["answer"]["backend"] == name
        assert side["answer"]["source"] == "model"
        assert side["invented"] == []
        assert "0.63" in side["cited"]


async def test_a_side_that_failed_is_a_problem(running: Gateway) -> None:
    running.mistral.script = [BackendError("it broke")]
    answer: Json = (await compare(running)).json()
    side = answer["sides"]["mistral"]
    assert (side["status"], side["answer"], side["problem"]["code"]) == (502, None, "backend_error")
    assert answer["sides"]["gpt-4"]["answer"]["action"] in ACTIONS
    assert answer["agree"] is None


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (EXAMPLE_BODY | {"stream": True}, {}, "stream"),
        ({}, {}, "ticker"),
        (EXAMPLE_BODY, {"X_Backend": "mistral"}, "both backends"),
        (EXAMPLE_BODY, {"X_Fallback": "gpt-4"}, "X-Fallback"),
        (EXAMPLE_BODY, {"X_Timeout_Ms": "soon"}, "X-Timeout-Ms"),
        ({"ticker": "<b>x</b>"}, {}, "ticker"),
    ],
)
async def test_a_request_that_is_not_a_comparison_is_refused(
    running: Gateway, body: object, headers: dict[str, str], says: str
) -> None:
    response = await compare(running, body, **headers)
    assert response.status_code == 422
    assert says in response.json()["detail"]
    assert running.asked == 0


async def test_a_repeat_under_a_key_calls_no_backend(running: Gateway) -> None:
    first = await compare(running, Idempotency_Key="once")
    again = await compare(running, Idempotency_Key="once")
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert running.asked == 2


async def test_a_key_of_one_backend_may_neither_compare_nor_read(own_store: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"admin:{ADMIN}")
    file.chmod(0o600)
    async with gateway(own_store, api_keys_file=file) as running:
        admin = {"X-API-Key": ADMIN}
        new = {"name": "half", "backends": ["mistral"]}
        key = (await running.client.post("/v1/keys", json=new, headers=admin)).json()["key"]
        half = {"X-API-Key": key}
        posted = await running.client.post("/v1/comparisons", json=EXAMPLE_BODY, headers=half)
        assert (posted.status_code, posted.json()["code"]) == (403, "forbidden")
        for path in ("/v1/comparisons", "/v1/comparisons/report"):
            assert (await running.client.get(path, headers=half)).status_code == 403
            assert (await running.client.get(path)).status_code == 401
            assert (await running.client.get(path, headers=admin)).status_code == 200
        assert running.asked == 0


# Pages


async def test_pages_lead_from_the_newest_to_the_oldest(running: Gateway) -> None:
    made = [(await compare(running)).json() for _ in range(5)]
    seen: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await get(running, limit=2, **cursor)).json()
        seen += page["pairs"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [pair["id"] for pair in seen] == [each["id"] for each in reversed(made)]
    assert [pair["at"] for pair in seen] == [each["at"] for each in reversed(made)]
    side = seen[0]["sides"]["gpt-4"]
    answer = made[-1]["sides"]["gpt-4"]["answer"]
    assert (side["action"], side["usd"]) == (answer["action"], answer["cost"]["usd"])
    assert side["total_ms"] == pytest.approx(answer["timing"]["total_ms"], rel=1e-6)


async def test_pages_of_a_choice(running: Gateway) -> None:
    for ticker in ("AAPL", "IBM", "AAPL", "MSFT"):
        assert (await compare(running, {"ticker": ticker, "detail": "brief"})).status_code == 200
    page = (await get(running, tickers="aapl,IBM", limit=2)).json()
    assert [pair["ticker"] for pair in page["pairs"]] == ["AAPL", "IBM"]
    page = (await get(running, tickers="aapl,IBM", limit=2, cursor=page["next"])).json()
    assert ([pair["ticker"] for pair in page["pairs"]], page["next"]) == (["AAPL"], None)
    assert (await get(running, detail="full")).json()["pairs"] == []
    assert (await get(running, origin="shadow")).json()["pairs"] == []


async def test_a_malformed_cursor_is_refused(running: Gateway) -> None:
    for _ in range(3):
        await compare(running)
    cursor = (await get(running, limit=1)).json()["next"]
    for wrong in (cursor[:-1] + "*", "AAAA", cursor + "A", "", "../../etc"):
        response = await get(running, cursor=wrong)
        assert response.status_code == 422
        assert response.json()["errors"] == [{"field": "cursor", "problem": "must be the `next` of an earlier page"}]


async def test_a_cursor_of_another_query_is_refused(running: Gateway) -> None:
    for _ in range(3):
        await compare(running)
    cursor = (await get(running, limit=1, detail="brief")).json()["next"]
    assert (await get(running, limit=2, detail="brief", cursor=cursor)).status_code == 200
    for other in ({}, {"detail": "full"}, {"detail": "brief", "agree": True}):
        response = await get(running, cursor=cursor, **other)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "cursor")


async def disagree(running: Gateway, **more: object) -> None:
    """Store a pair in which the backends disagree."""
    running.mistral.script, running.backends["gpt-4"].script = [BUY], [SELL]
    assert (await compare(running, EXAMPLE_BODY | {"detail": "brief"} | more)).status_code == 200


async def test_disagreements_models_and_blind_questions_are_selected(running: Gateway) -> None:
    assert (await compare(running)).status_code == 200
    await disagree(running, blind=True)
    (pair,) = (await get(running, agree=False)).json()["pairs"]
    assert (pair["agree"], pair["blind"]) == (False, True)
    assert {name: (side["model"], side["prompt_version"]) for name, side in pair["sides"].items()} == {
        "mistral": ("buyer", PROMPT_VERSION),
        "gpt-4": ("=seller", PROMPT_VERSION),
    }
    for query in ({"blind": True}, {"mistral_model": "buyer"}, {"gpt4_model": "=seller", "agree": False}):
        assert [each["id"] for each in (await get(running, **query)).json()["pairs"]] == [pair["id"]]
        assert (await get(running, "/report", **query)).json()["pairs"] == 1
    assert (await get(running, mistral_model="buyer", agree=True)).json()["pairs"] == []
    assert len((await get(running, prompt_version=PROMPT_VERSION)).json()["pairs"]) == 2


async def test_pairs_as_csv_are_streamed_whole_and_safe(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_csv, "PAGE", 2)
    for _ in range(5):
        await disagree(running)
    csv_header = {"Accept": "text/csv"}
    response = await running.client.get("/v1/comparisons", headers=csv_header)
    assert (response.status_code, response.headers["vary"]) == (200, "Accept")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    pairs = (await get(running)).json()["pairs"]
    assert [row["id"] for row in rows] == [each["id"] for each in pairs]
    assert tuple(rows[0]) == pairs_csv.columns(BACKEND_NAMES)
    assert (rows[0]["gpt4_model"], rows[0]["agree"], rows[0]["mistral_probability_buy"]) == ("'=seller", "false", "0.7")
    assert rows[0]["at"].startswith(pairs[0]["at"][:19])
    for query in ("limit=2", "cursor=AAAAAAAAAAAAAAAA"):
        assert (await running.client.get(f"/v1/comparisons?{query}", headers=csv_header)).status_code == 422


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("", f"limit={MAX_PAGE + 1}"),
        ("", "limit=0"),
        ("", "limit=many"),
        ("", "page=2"),
        ("", "limit=1&limit=2"),
        ("", "from=yesterday"),
        ("", "from=1709856000"),
        ("", "from=2024-03-09&to=2024-03-08"),
        ("", "tickers="),
        ("", "tickers=AAPL,<script>"),
        ("", "detail=long"),
        ("", "origin=elsewhere"),
        ("", "agree=maybe"),
        ("", "blind=2"),
        ("", "mistral_model=none-such"),
        ("", "gpt4_model="),
        ("", "prompt_version=0"),
        ("", "group_by=detail"),
        ("/report", "mistral_model=none-such"),
        ("/report", "group_by="),
        ("/report", "group_by=colour"),
        ("/report", "group_by=detail,day,ticker,blind"),
        ("/report", "half_width=0"),
        ("/report", "half_width=nan"),
        ("/report", "limit=5"),
        ("/report", "to=2024-13-01"),
    ],
)
async def test_each_invalid_query_parameter_is_named(running: Gateway, path: str, query: str) -> None:
    response = await running.client.get(f"/v1/comparisons{path}?{query}")
    assert response.status_code == 422
    assert query.split("=")[0] in response.json()["detail"]


# The report


async def test_the_report_is_of_a_span(running: Gateway) -> None:
    made = [(await compare(running)).json() for _ in range(3)]
    report: Json = (await get(running, "/report")).json()
    assert (report["pairs"], report["answered_by_both"], report["tickers"]) == (3, 3, 1)
    assert report["agreement"] == {"value": 1.0, "low": None, "high": None}
    assert (report["first"], report["last"]) == (made[0]["at"], made[-1]["at"])
    second = made[1]["at"]
    after = (datetime.fromisoformat(made[-1]["at"]) + timedelta(milliseconds=1)).isoformat()
    assert (await get(running, "/report", start=after)).json()["pairs"] == 0
    assert (await get(running, "/report", start=second, to=after)).json()["pairs"] >= 2
    assert (await get(running, "/report", to="2024-03-08")).json()["pairs"] == 0
    assert (await get(running, "/report", tickers="IBM")).json()["pairs"] == 0
    assert (await get(running, "/report", half_width=0.1)).json()["needed"]["pairs"] == 97


async def test_the_report_is_grouped(running: Gateway) -> None:
    await disagree(running)
    assert (await compare(running, EXAMPLE_BODY | {"detail": "full"})).status_code == 200
    report: Json = (await get(running, "/report")).json()
    assert [(group["by"], group["pairs"]) for group in report["groups"]] == [
        ({"detail": "full"}, 1),
        ({"detail": "brief"}, 1),
    ]
    assert [group["agreement_anytime"]["value"] for group in report["groups"]] == [1, 0]
    grouped = (await get(running, "/report", group_by="mistral_model,day,day")).json()["groups"]
    assert {tuple(group["by"]) for group in grouped} == {("mistral_model", "day")}
    assert {group["by"]["mistral_model"] for group in grouped} == {"buyer", "double-1"}
    assert {each["model"]: each["pairs"] for each in report["versions"]["gpt-4"]} == {"=seller": 1, "double-1": 1}
    response = await running.client.get("/v1/comparisons/report", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    agreement = {row["group"]: row["value"] for row in rows if row["figure"] == "agreement"}
    assert agreement == {"": "0.5", "detail=full": "1.0", "detail=brief": "0.0"}


async def test_the_report_is_grouped_by_the_sectors_of_a_universe_file(own_store: str, tmp_path: Path) -> None:
    universe = tmp_path / "universe.csv"
    universe.write_text("ticker,name,sector\nAAPL,Apple,Technology\nIBM,IBM,\n")
    async with gateway(own_store, universe_file=universe) as running:
        for ticker in ("AAPL", "IBM", "MSFT"):
            assert (await compare(running, {"ticker": ticker, "detail": "brief"})).status_code == 200
        groups = (await get(running, "/report", group_by="sector")).json()["groups"]
        assert [(group["by"], group["pairs"]) for group in groups] == [
            ({"sector": None}, 2),
            ({"sector": "Technology"}, 1),
        ]
        query = "/v1/comparisons/report?group_by=sector,detail"
        text = (await running.client.get(query, headers={"Accept": "text/csv"})).text
        labels = {row["group"] for row in csv.DictReader(io.StringIO(text, newline=""))}
        assert labels == {"", "sector=unknown; detail=brief", "sector=Technology; detail=brief"}


async def test_groups_by_sector_need_the_setting(running: Gateway) -> None:
    response = await get(running, "/report", group_by="sector")
    assert response.status_code == 422
    assert "CONVICTION_UNIVERSE_FILE" in response.json()["detail"]
    assert [error["field"] for error in response.json()["errors"]] == ["group_by"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv, application/json;q=0.5", "text/csv; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/csv;q=0.4, application/json", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("*/*", "application/json"),
        ("text/csv;q=lots", "application/json"),
    ],
)
async def test_csv_is_given_where_it_is_preferred(running: Gateway, accept: str, kind: str) -> None:
    response = await running.client.get("/v1/comparisons/report", headers={"Accept": accept})
    assert response.headers["content-type"] == kind
    assert response.headers["vary"] == "Accept"
