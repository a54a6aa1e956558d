"""The OpenAPI document: complete, with valid examples, shown without other hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.contract.features import METRIC_NAMES
from tests.doubles import Gateway, ask, gateway

Json = dict[str, Any]
VERBS = {"check", "compare", "create", "delete", "get", "issue", "list", "recommend", "revoke", "update"}


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


def contents(document: Json) -> Iterator[tuple[str, str, str, Json]]:
    """Yield each response's operation, status, media type and content."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                for media_type, content in response.get("content", {}).items():
                    yield f"{method.upper()} {path}", status, media_type, content


def documents(media_type: str, value: Any) -> list[Any]:
    """Return the JSON documents of an example."""
    if media_type.endswith("ndjson"):
        return [json.loads(line) for line in value.splitlines()]
    return [value] if media_type.endswith("json") else []


def test_every_response_has_examples_that_fit_its_schema(document: Json) -> None:
    for operation, status, media_type, content in contents(document):
        assert content["examples"], (operation, status, media_type)
        form = content["schema"]
        form = form.get("contentSchema", form) | {"components": document["components"]}
        for example in content["examples"].values():
            for each in documents(media_type, example["value"]):
                Draft202012Validator(form).validate(each)
                if int(status) >= 400 and "code" in each:
                    assert each["status"] == int(status)


def test_an_invalid_request_s_example_is_the_operation_s_own(document: Json) -> None:
    found = {
        operation: content["examples"]["invalid_request"]["value"]
        for operation, status, _, content in contents(document)
        if status == "422"
    }
    assert len({str(example.get("detail", example)) for example in found.values()}) == len(found)


def test_operations_have_camel_case_verbs_and_schemas_public_names(document: Json) -> None:
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)
    for each in ids:
        first, *rest = re.findall(r"^[a-z]+|[A-Z][a-z]+", each)
        assert first in VERBS, each
        assert "".join([first, *rest]) == each
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"([A-Z][a-z]+)+", name), name


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
