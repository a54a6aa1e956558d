"""Questions whose answers are known: asked of weights that were rebuilt here before anyone else may ask."""

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
"""For one answer, the first on a cold machine among them."""


async def until_answered(backend: Backend, pause_s: float) -> None:
    """Ask a real question again and again until it is answered. Raises `WrongAnswers` for gibberish."""
    while True:
        try:
            await backend.check()
            await _ask(backend, "SNPS", EXAMPLE)
        except BackendError:
            await asyncio.sleep(pause_s)
        else:
            return


async def check(backend: Backend, weights: Weights) -> None:
    """Ask a new build what the published model was asked. Raises `WrongAnswers` naming what came out otherwise."""
    if weights.passed():
        return
    wrong = []
    for golden in weights.manifest.golden:
        action = await _ask(backend, golden.ticker, Metrics.model_validate_json(json.dumps(golden.metrics)))
        if action != golden.action:
            wrong.append(f"{golden.ticker}: {action}, recorded {golden.action}")
    if wrong:
        raise WrongAnswers(
            f"{weights.model_id} ({weights.kind}) does not answer the golden prompts as published: {'; '.join(wrong)}"
        )
    weights.pass_for_good()


async def _ask(backend: Backend, ticker: str, metrics: Metrics) -> Action:
    completion = await backend.complete(messages(metrics, ticker, "brief"), "brief", Deadline.after(ANSWER_S))
    try:
        return parse("brief", completion.text).action
    except UnparsedAnswer as error:
        raise WrongAnswers(f"{backend.model} answers {ticker} with what is no answer: {error}") from None
