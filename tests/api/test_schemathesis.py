"""Schemathesis reads the OpenAPI document and sends what fits it and what does not, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from app.api.answer_fields import FIELDS
from app.api.openapi import document
from app.backends.base import Backend
from app.contract.completion import BackendName
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

KEY = "0123456789abcdef"
EXAMPLES = 40

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # Rules between fields (three metrics, a ratio that fits its parts) are beyond JSON Schema, few tickers
            # exist, and an Idempotency-Key goes with one body.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]},
        },
        # An invalid item fails alone, with its own line of a response that is successful.
        "operations": [
            {
                "include-path": "/v1/recommendations/batch",
                "checks": {"negative_data_rejection": {"enabled": False}},
            }
        ],
    }
)

SETTINGS = Settings.model_validate(
    {
        **{"market": "sample", "candidate_urls": ("http://candidate.example/v1",)},
        **{"hosting_usd_per_hour": "0.10", "capacity_tokens_per_hour": 100_000},
    }
)
schema = schemathesis.openapi.from_dict(document(create_app(SETTINGS), keyed=True), config=CONFIG)


@pytest.fixture(scope="module")
def origin(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"fuzz:{KEY}")
    keys.chmod(0o600)
    backends: dict[BackendName, Backend] = {
        "mistral": CountingBackend("mistral"),
        "gpt-4": CountingBackend("gpt-4"),
        "candidate": CountingBackend("candidate"),
    }
    keyed = SETTINGS.model_copy(update={"api_keys_file": keys, "store_dir": keys.parent})
    with served(create_app(keyed, opened_with(store_url, backends)), lifespan="on") as origin:
        yield origin


def requested(case: schemathesis.Case) -> list[object]:
    """Return the values of `fields`."""
    given = (case.query or {}).get("fields")
    return given if isinstance(given, list) and given else str(given).split(",")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_finds_a_flaw(case: schemathesis.Case, origin: str) -> None:
    if (case.headers or {}).get("X-Timeout-Ms", "").isdecimal():
        del case.headers["X-Timeout-Ms"]  # to keep to a millisecond is no flaw
    if set(requested(case)) <= set(FIELDS):
        case.query.pop("fields", None)  # nor is it that a part of an answer lacks what the schema requires
    case.call_and_validate(base_url=origin, headers={"X-API-Key": KEY, "Authorization": f"Bearer {KEY}"})
