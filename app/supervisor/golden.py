"""Golden prompts: prompts with known answers, which rebuilt weights must reproduce before they serve requests."""

from __future__ import annotations

import asyncio
import json

from app.backends.base import Backend
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import Action, UnparsedAnswer, parse
from app.deadline import Deadline
from app.errors import BackendError
from app.supervisor.failures import WrongAnswers
from app.supervisor.weights import Weights

ANSWER_S = 60.0
"""Time limit of one answer, including the first after a start."""


async def wait_until_answering(backend: Backend, poll_s: float) -> None:
    """Send a complete prompt until it is answered. Raises `WrongAnswers` for an answer that cannot be parsed."""
    while True:
        try:
            await backend.check()
            await _complete(backend, "SNPS", EXAMPLE)
        except BackendError:
            await asyncio.sleep(poll_s)
        else:
            return


async def check(backend: Backend, weights: Weights) -> None:
    """Compare the answers of a new build with those recorded. Raises `WrongAnswers` listing the differences."""
    if weights.passed_golden_prompts():
        return
    differences = []
    for golden in weights.manifest.golden:
        action = await _complete(backend, golden.ticker, Metrics.model_validate_json(json.dumps(golden.metrics)))
        if action != golden.action:
            differences.append(f"{golden.ticker}: {action}, recorded {golden.action}")
    if differences:
        raise WrongAnswers(
            f"{weights.model_id} ({weights.kind}) does not answer the golden prompts as published: "
            f"{'; '.join(differences)}"
        )
    weights.record_golden_prompts_passed()


async def _complete(backend: Backend, ticker: str, metrics: Metrics) -> Action:
    completion = await backend.complete(messages(metrics, ticker, "brief"), "brief", Deadline.after(ANSWER_S))
    try:
        return parse("brief", completion.text).action
    except UnparsedAnswer as error:
        raise WrongAnswers(f"{backend.model} answers {ticker} with text that is not an answer: {error}") from None
