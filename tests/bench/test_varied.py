from __future__ import annotations

import json

from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from bench.varied import ticker, varied

NUMBERS = range(200)


def prompt(number: int, detail: Detail) -> str:
    metrics = Metrics.model_validate_json(json.dumps(varied(EXAMPLE.document(), number)))
    return messages(metrics, ticker(number), detail)[0]["content"]


def test_every_number_has_a_unique_prompt() -> None:
    for detail in ("brief", "full"):
        assert len({prompt(number, detail) for number in NUMBERS}) == len(NUMBERS)


def test_figures_stay_within_their_bounds_and_all_are_given() -> None:
    for number in NUMBERS:
        assert varied(EXAMPLE.document(), number).keys() == EXAMPLE.document().keys()
        Metrics.model_validate_json(json.dumps(varied(EXAMPLE.document(), number)))
