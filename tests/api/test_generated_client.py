"""A client generated from the OpenAPI document asks, streams and batches over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import pytest

from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import StandIn, served
from tests.doubles import EXAMPLE_BODY

PACKAGE = "conviction_client"
CONFIG = {
    "content_type_overrides": {"application/x-ndjson": "text/plain"},
    "post_hooks": [],  # no formatting
}
FULL = EXAMPLE_BODY | {"detail": "full"}


@pytest.fixture(scope="module")
def origin(stand_in_server: StandIn, store_url: str) -> Iterator[str]:
    stand_in = stand_in_server
    settings = {
        **{"vllm_urls": stand_in.url, "openai_base_url": stand_in.url, "openai_api_key": stand_in.key},
        **{"hosting_usd_per_hour": "0.10", "capacity_tokens_per_hour": 100_000},
        **{"redis_url": store_url, "market": "sample", "cache_s": 0},
    }
    with served(create_app(Settings.model_validate(settings)), lifespan="on") as origin:
        yield origin


@pytest.fixture(scope="module")
def package(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The generated package; no part of the document may be left out of it."""
    folder = tmp_path_factory.mktemp("client")
    with urlopen(f"{origin}/openapi.json", timeout=20) as response:
        (folder / "openapi.json").write_bytes(response.read())
    (folder / "config.json").write_text(json.dumps(CONFIG))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none"]
    command += ["--config", "config.json", "--output-path", PACKAGE, "--fail-on-warning"]
    generated = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    sys.path.insert(0, str(folder))
    yield import_module(PACKAGE)
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def models(package: ModuleType) -> Any:
    return import_module(f"{PACKAGE}.models")


@pytest.fixture(scope="module")
def client(package: ModuleType, origin: str) -> Iterator[Any]:
    with package.Client(base_url=origin, timeout=60) as client:
        yield client


def operation(name: str, tag: str = "recommendations") -> Any:
    return import_module(f"{PACKAGE}.api.{tag}.{name}")


def test_every_module_of_it_is_imported(package: ModuleType) -> None:
    folder = Path(str(package.__file__)).parent
    modules = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")]
    for module in modules:
        import_module(".".join(module.parts).removesuffix(".__init__"))
    assert len([module for module in modules if "api" in module.parts]) > 16


def test_it_asks_and_reads_the_answer_as_an_object(client: Any, models: Any) -> None:
    body = models.RecommendationRequest.from_dict(FULL)
    answer = operation("recommend").sync(client=client, body=body)
    assert isinstance(answer, models.Recommendation)
    assert (answer.ticker, answer.usage.estimated, answer.stand_in) == ("SNPS", False, True)
    assert answer.metrics["technicals"]["RSI_14"] == 59.44
    assert sum(item.vote for item in answer.evidence if item.group == "bullish") > 0


def test_it_reads_a_problem_as_an_object(client: Any, models: Any) -> None:
    body = models.RecommendationRequest(ticker="NOPE")
    response = operation("recommend").sync_detailed(client=client, body=body)
    assert (int(response.status_code), response.parsed.code) == (404, "unknown_ticker")
    assert isinstance(response.parsed, models.Problem)


def test_it_streams(client: Any, models: Any) -> None:
    body = models.RecommendationRequest.from_dict(FULL | {"stream": True})
    request = operation("recommend")._get_kwargs(body=body)
    with client.get_httpx_client().stream(**request) as response:
        decision, *pieces, last = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    assert decision == {name: last[name] for name in ("action", "conviction")}
    assert "".join(piece["delta"] for piece in pieces) == last["analysis"]
    assert models.Recommendation.from_dict(last).analysis == last["analysis"]


def test_it_batches(client: Any, models: Any) -> None:
    body = models.BatchRequest(
        items=[
            models.BatchItem.from_dict(EXAMPLE_BODY | {"custom_id": "first"}),
            models.BatchItem(ticker="NOPE", custom_id="second"),
        ]
    )
    *received, last = operation("recommend_batch").sync(client=client, body=body).splitlines()
    lines = {line["custom_id"]: line for line in map(json.loads, received)}
    answer = models.BatchAnswer.from_dict(lines["first"])
    assert answer.answer.ticker == "SNPS"
    problem = models.BatchProblem.from_dict(lines["second"])
    assert (problem.status, problem.problem.code) == (404, "unknown_ticker")
    assert models.BatchSummary.from_dict(json.loads(last)).summary.failed == 1


def test_it_lists_pairs_and_keys_have_their_types(client: Any, models: Any) -> None:
    page = operation("list_comparisons", "comparisons").sync(client=client, limit=1)
    assert isinstance(page, models.Pairs)
    refused = operation("list_keys", "keys").sync(client=client)
    assert (refused.status, refused.code) == (409, "conflict")
