"""The examples of the OpenAPI document: requests with the case study's SNPS figures, and their answers.

The rule-based analyst wrote the answers, as their `stand_in` states.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.contract import rule_based_analyst as rules
from app.contract.analysis import read_analysis
from app.contract.completion import Completion, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.probabilities import LabelProbabilities
from app.contract.prompt import PROMPT_VERSION, Detail
from app.contract.recommendation import FullAnswer, canonical
from app.pricing.prices import list_price
from app.recommendation import GIVEN, RECOMMENDATION, Probabilities, Recommendation, RequestCost, Timing

MODEL = "gpt-4.1"
USAGE: dict[Detail, Usage] = {"full": Usage(471, 118), "brief": Usage(443, 12)}

REQUESTS: dict[str, Any] = {
    "full": {
        "summary": "SNPS with metrics, with an analysis",
        "value": {"ticker": "SNPS", "metrics": EXAMPLE.document()},
    },
    "brief": {
        "summary": "The same, action and conviction only",
        "value": {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"},
    },
    "ticker": {
        "summary": "A ticker, whose metrics the gateway looks up",
        "value": {"ticker": "AAPL", "detail": "brief"},
    },
}


def _answer(detail: Detail) -> Any:
    answer = rules.answer(EXAMPLE, detail)
    analysis = answer.analysis if isinstance(answer, FullAnswer) else None
    completion = Completion(
        text=canonical(answer),
        model=f"stand-in/{MODEL}",
        usage=USAGE[detail],
        probabilities=LabelProbabilities({"buy": 0.62, "sell": 0.05, "hold": 0.33}, None),
        time_to_first_token=0.412,
        duration=0.412 + 0.0333 * (USAGE[detail].completion_tokens - 1),
        stand_in=True,
    )
    recommendation = Recommendation(
        id="rec_5b2f6c0de1a94c57b8a3f1d20c4e7a96",
        created_at=datetime(2024, 3, 8, 21, 5, tzinfo=UTC),
        ticker="SNPS",
        blind=False,
        as_of=EXAMPLE.as_of,
        action=answer.action,
        conviction=answer.conviction,
        probabilities=Probabilities.of(completion.probabilities),
        probabilities_calibrated=False,
        probabilities_given=GIVEN[detail],
        probabilities_bound=None,
        analysis=analysis,
        evidence=[] if analysis is None else read_analysis(analysis),
        backend="gpt-4",
        model=completion.model,
        prompt_version=PROMPT_VERSION,
        source="model",
        usage=completion.usage,
        timing=Timing.of(completion, completion.duration + 0.0021, 0.0017),
        cost=RequestCost.of(list_price(MODEL).cost(completion.usage)),
        metrics=EXAMPLE,
        metrics_source=None,
        missing=EXAMPLE.missing(),
        experiment=None,
        fallback_from=None,
        cascade=None,
        stand_in=True,
    )
    return RECOMMENDATION.dump_python(recommendation, mode="json")


ANSWERS: dict[str, Any] = {
    "full": {"summary": "With an analysis", "value": _answer("full")},
    "brief": {"summary": "Action and conviction only", "value": _answer("brief")},
}
