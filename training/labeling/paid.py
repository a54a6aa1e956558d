"""Labelling by a paid teacher: estimate, requests within the cap, and cost summary."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.pricing.prices import in_usd, prices, shutdown_warning
from training.config.teacher import Teacher
from training.labeling.batch import Batches
from training.labeling.cap import Cap
from training.labeling.connection import connect
from training.labeling.estimate import describe
from training.labeling.journal import Journal
from training.labeling.live import Live
from training.labeling.prompts import Question
from training.labeling.tariff import Tariff, nano

HARMLESS_RETRIES = 8
"""Client retries of uploads, polls and downloads, which are idempotent; Retry-After is honoured."""

STAND_IN = "stand-in/"
"""Prefix of a stand-in's model ids; its labels are the rule-based analyst's."""


def journal(folder: Path, model: str) -> Journal:
    """Return the journal of a model, shared by both ways of querying it."""
    return Journal(folder / "journal" / f"{quote(model, safe='')}.sqlite")


def label(
    teacher: Teacher, book: Journal, questions: list[Question], pairs: int, *, estimate_only: bool = False
) -> None:
    """Print the estimate, then query what the journal lacks.

    Raises `CapReached` or `TeacherFailed` if labelling stops early; answers so far are kept.
    """
    assert teacher.model is not None and teacher.max_usd is not None
    tariff = Tariff.of(teacher.model, batch=teacher.name == "openai-batch")
    cap = Cap(book, nano(teacher.max_usd))
    print(describe(questions, pairs, cap, tariff, teacher.tries), file=sys.stderr, flush=True)
    if warning := shutdown_warning(teacher.model, datetime.now(UTC).date()):
        print(f"  {warning}", file=sys.stderr, flush=True)
    if not estimate_only:
        asyncio.run(_ask(teacher, cap, tariff, questions))


async def _ask(teacher: Teacher, cap: Cap, tariff: Tariff, questions: list[Question]) -> None:
    assert teacher.model is not None
    async with connect(HARMLESS_RETRIES) as client:
        by_batch = Tariff.of(teacher.model, batch=True)
        batches = Batches(client, cap, by_batch, teacher.tries, teacher.batch_requests)
        if teacher.name == "openai-batch":
            return await batches.ask(questions)
        await batches.ask([])  # collect what an earlier process left open
        once = client.with_options(max_retries=0)
        return await Live(once, cap, tariff, teacher.tries, teacher.concurrency).ask(questions)


def account(teacher: Teacher, book: Journal, questions: list[Question]) -> dict[str, Any]:
    """Return the manifest's entries of a paid teacher: models, tokens, cost, failures."""
    labels, failures, models = book.labels, book.failures, book.models
    failed = [failures[one.key][-1] for one in questions if one.key not in labels]
    unsettled = {"calls": book.open_calls, "nano_usd": book.spent - book.paid}
    return {
        "model": ", ".join(sorted(models)),
        "models": dict(models),
        "asked_for": teacher.model,
        "stand_in": any(model.startswith(STAND_IN) for model in models),
        "tokens": book.tokens,
        "cost": {
            "nano_usd": book.paid,
            "usd": in_usd(book.paid),
            "basis": "list_price",
            "prices_checked": str(prices().checked),
            "max_usd": str(teacher.max_usd),
            "unsettled": unsettled,
        },
        "failures": {
            "prompts_without_label": dict(Counter(failed)),
            "answers_not_taken": dict(Counter(reason for reasons in failures.values() for reason in reasons)),
        },
    }
