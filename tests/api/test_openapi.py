"""The OpenAPI document: complete, with valid examples, shown without other hosts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.contract.features import METRIC_NAMES
from tests.doubles import Gateway, ask, gateway

Json = dict[str, Any]


@pytest.fixture
async def document(running: Gateway) -> Json:
    found: Json = (await running.client.get("/openapi.json")).json()
    return found


async def test_the_worked_answers_have_the_fields_that_answers_have(running: Gateway, document: Json) -> None:
    operation = document["paths"]["/v1/recommendations"]["post"]
    examples = operation["responses"]["200"]["content"]["application/json"]["examples"]
    answer = (await ask(running)).json()
    for example in examples.values():
        assert list(example["value"]) == list(answer)
        assert example["value"]["stand_in"] is True


def test_every_operation_documents_its_errors(document: Json) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            failures = {int(status) for status in operation["responses"]} - {200}
            assert {403, 500} <= failures, path
            assert operation["summary"]
            assert any(parameter["name"] == "X-Request-Id" for parameter in operation["parameters"])
    codes = document["paths"]["/v1/recommendations"]["post"]["responses"]
    assert {"400", "401", "404", "413", "415", "422", "502", "503", "504"} <= set(codes)
    assert "unparsed_answer" in codes["502"]["description"]


def test_every_metric_is_described_with_its_bounds(document: Json) -> None:
    schemas = document["components"]["schemas"]
    described = {
        name: field
        for schema in schemas.values()
        for name, field in schema.get("properties", {}).items()
        if name in METRIC_NAMES
    }
    assert set(described) == set(METRIC_NAMES)
    for name, field in described.items():
        number = field["anyOf"][0]
        assert field["description"], name
        assert "maximum" in number, name
        assert {"minimum", "exclusiveMinimum"} & set(number), name


async def test_keys_are_documented_where_they_are_needed(store_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("ann:0123456789abcdef")
    file.chmod(0o600)
    async with gateway(store_url, api_keys_file=file) as running:
        headers = {"X-API-Key": "0123456789abcdef"}
        document = (await running.client.get("/openapi.json", headers=headers)).json()
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert document["paths"]["/health/live"]["get"]["security"] == []


async def test_the_page_loads_nothing_from_other_hosts(running: Gateway) -> None:
    page = (await running.client.get("/docs")).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    for address in loaded:
        assert address.startswith("/docs/assets/"), address
        assert (await running.client.get(address)).status_code == 200
    assert "https://" not in page
