"""The endpoint over both real clients, with the stand-in behind HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.contract.features import METRIC_NAMES
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.main import create_app
from app.settings.gateway import Settings
from app.stand_in import Mode
from tests.api.test_bad_input import assert_problem
from tests.conftest import StandIn
from tests.doubles import EXAMPLE_BODY

PATH = "/v1/recommendations"

FIELDS = [
    "id",
    "created_at",
    "ticker",
    "blind",
    "as_of",
    "action",
    "conviction",
    "probabilities",
    "probabilities_calibrated",
    "probabilities_given",
    "probabilities_bound",
    "analysis",
    "evidence",
    "backend",
    "model",
    "prompt_version",
    "source",
    "usage",
    "timing",
    "cost",
    "metrics",
    "metrics_source",
    "missing",
    "experiment",
    "fallback_from",
    "cascade",
    "stand_in",
    "weights",
    "disclaimer",
]


@pytest.fixture
async def client(stand_in: StandIn, store_url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate(
        {
            "vllm_urls": stand_in.url,
            "openai_base_url": stand_in.url,
            "openai_api_key": stand_in.key,
            "hosting_usd_per_hour": "0.10",
            "capacity_tokens_per_hour": 100_000,
            "redis_url": store_url,
            "market": "sample",
            "cache_s": 0,
            "backend_timeout_s": 2,
        }
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.mark.parametrize("backend", ["mistral", "gpt-4"])
@pytest.mark.parametrize("detail", ["brief", "full"])
async def test_metrics_are_answered(client: httpx.AsyncClient, backend: str, detail: str) -> None:
    body = EXAMPLE_BODY | {"detail": detail}
    response = await client.post(PATH, json=body, headers={"X-Backend": f" {backend.upper()} "})
    assert response.status_code == 200, response.text
    assert response.headers["x-backend"] == backend
    answer: dict[str, Any] = response.json()
    assert list(answer) == FIELDS
    assert answer["ticker"] == "SNPS"
    assert answer["as_of"] == "2024-03-08"
    assert answer["action"] in ("buy", "sell", "hold")
    assert answer["conviction"] in range(1, 11)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["probabilities_given"] == "metrics"
    assert (answer["analysis"] is None) == (detail == "brief")
    assert bool(answer["evidence"]) == (detail == "full")
    assert answer["backend"] == backend
    assert answer["model"].endswith(fingerprint() if backend == "mistral" else "gpt-4.1")
    assert answer["source"] == "model"
    assert answer["cost"]["basis"] == ("capacity" if backend == "mistral" else "list_price")
    assert float(answer["cost"]["usd"]) > 0
    assert answer["metrics"] == EXAMPLE.document()
    assert answer["metrics_source"] is None
    assert answer["missing"] == []
    assert answer["stand_in"] is True
    timing = answer["timing"]
    assert 0 < timing["gateway_ms"] < timing["total_ms"]
    assert 0 < timing["ttft_ms"] < timing["total_ms"]
    assert timing["tokens_per_second"] == pytest.approx(1000 / timing["ms_per_token"], rel=0.01)


async def test_a_ticker_is_looked_up(client: httpx.AsyncClient) -> None:
    body = {"ticker": "aapl", "as_of": "2012-05-10", "detail": "brief"}
    answer = (await client.post(PATH, json=body)).json()
    assert answer["ticker"] == "AAPL"
    assert answer["as_of"] == "2012-05-10"
    assert answer["metrics_source"]["provider"] == "sample"
    assert answer["metrics_source"]["simulated"] == ["options"]
    assert answer["metrics_source"]["age_s"] >= 0


@pytest.mark.parametrize(
    "ticker",
    [
        *("HLT", "HTZ", "MS", "NEE", "A", "F", "X", "DAY", "NOW", "MIN", "SEC", "IMG", "DIV", "BR", "HTML"),
        *("NA", "NAN", "NULL", "NONE", "TRUE", "ON", "NO", "INF", "ALL", "SELL", "BUY", "BRK.B", "BF-B", "GOOGL"),
    ],
)
async def test_symbols_that_look_like_other_words_are_tickers(client: httpx.AsyncClient, ticker: str) -> None:
    answer = await client.post(PATH, json={"ticker": ticker, "metrics": EXAMPLE.document(), "detail": "brief"})
    assert (answer.status_code, answer.json()["ticker"]) == (200, ticker)


async def test_missing_metrics_are_listed(client: httpx.AsyncClient) -> None:
    metrics = {"price": 12.5, "technicals": {"RSI_14": 28.0, "OBV": None, "ADX_14": 30}}
    answer = (await client.post(PATH, json={"metrics": metrics})).json()
    assert answer["metrics"]["technicals"] == {"RSI_14": 28.0, "ADX_14": 30}
    assert answer["missing"] == [name for name in METRIC_NAMES if name not in ("price", "RSI_14", "ADX_14")]
    assert (answer["ticker"], answer["as_of"]) == (None, None)


FAILURES: list[tuple[Mode, int, int, str]] = [
    ("refusal", 2, 502, "unparsed_answer"),
    ("length", 2, 502, "unparsed_answer"),
    ("malformed", 2, 502, "unparsed_answer"),
    ("500", 9, 502, "backend_error"),
    ("429", 9, 503, "backend_unavailable"),
    ("cut", 9, 502, "backend_error"),
    ("timeout", 9, 504, "deadline_exceeded"),
]


@pytest.mark.parametrize("backend", ["mistral", "gpt-4"])
@pytest.mark.parametrize(("mode", "times", "status", "code"), FAILURES)
async def test_a_failing_model_is_an_error_and_never_a_hold(
    client: httpx.AsyncClient, stand_in: StandIn, mode: Mode, times: int, status: int, code: str, backend: str
) -> None:
    stand_in.fail(mode, times)
    response = await client.post(PATH, json=EXAMPLE_BODY, headers={"X-Backend": backend})
    assert_problem(response, status, code)
    assert stand_in.key not in response.text
    assert (status == 503) == ("retry-after" in response.headers)
    page = (await client.get("/metrics")).text
    assert f'conviction_requests_total{{backend="{backend}",detail="brief",outcome="{code}"}} 1.0' in page
    assert 'action="hold",backend="mistral"} 0.0' in page


async def test_without_an_openai_key_that_route_names_the_setting(store_url: str) -> None:
    app = create_app(Settings.model_validate({"market": "sample", "redis_url": store_url}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            response = await client.post(PATH, json=EXAMPLE_BODY, headers={"X-Backend": "gpt-4"})
            assert_problem(response, 503, "backend_unavailable", "OPENAI_API_KEY")
            assert (await client.get("/health/ready")).status_code == 503
