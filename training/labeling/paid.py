"""A teacher that is paid for: estimate, ask within the cap, and the labels out of the journal."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.pricing.prices import prices, shutdown_warning
from training.config import Teacher
from training.labeling.batch import Batches
from training.labeling.cap import Cap
from training.labeling.connection import connect
from training.labeling.estimate import told
from training.labeling.journal import Journal
from training.labeling.live import Live
from training.labeling.prompts import Question
from training.labeling.tariff import Tariff, in_usd, nano

HARMLESS_RETRIES = 8
"""Of uploads, polls and downloads, by the client itself; it honours Retry-After."""

STAND_IN = "stand-in/"
"""What a stand-in's model ids begin with: its labels are the rule-based analyst's."""


def journal(folder: Path, model: str) -> Journal:
    """One for each model, whichever way it is asked: no label is mistaken for another model's."""
    return Journal(folder / "journal" / f"{quote(model, safe='')}.jsonl")


def label(teacher: Teacher, book: Journal, asked: list[Question], pairs: int, *, estimate_only: bool = False) -> None:
    """Print the estimate, then ask for what the journal lacks.

    Raises `CapReached` or `TeacherFailed` where it ends before all is asked; what was answered stays.
    """
    assert teacher.model is not None and teacher.max_usd is not None
    tariff = Tariff.of(teacher.model, batch=teacher.name == "openai-batch")
    cap = Cap(book, nano(teacher.max_usd))
    print(told(asked, pairs, cap, tariff, teacher.tries), file=sys.stderr, flush=True)
    if warning := shutdown_warning(teacher.model, datetime.now(UTC).date()):
        print(f"  {warning}", file=sys.stderr, flush=True)
    if not estimate_only:
        asyncio.run(_ask(teacher, cap, tariff, asked))


async def _ask(teacher: Teacher, cap: Cap, tariff: Tariff, asked: list[Question]) -> None:
    assert teacher.model is not None
    async with connect(HARMLESS_RETRIES) as client:
        by_batch = Tariff.of(teacher.model, batch=True)
        batches = Batches(client, cap, by_batch, teacher.tries, teacher.batch_requests)
        if teacher.name == "openai-batch":
            return await batches.ask(asked)
        await batches.collect_open()
        once = client.with_options(max_retries=0)
        return await Live(once, cap, tariff, teacher.tries, teacher.concurrency).ask(asked)


def account(teacher: Teacher, book: Journal, asked: list[Question]) -> dict[str, Any]:
    """What the manifest says of a paid teacher: who answered, what it took, what failed."""
    failed = [book.failures[one.key][-1] for one in asked if one.key not in book.labels]
    unsettled = {"calls": len(book.open), "nano_usd": book.spent - book.paid}
    return {
        "model": ", ".join(sorted(book.models)),
        "models": dict(book.models),
        "asked_for": teacher.model,
        "stand_in": any(model.startswith(STAND_IN) for model in book.models),
        "tokens": {kind: book.tokens[kind] for kind in ("prompt", "completion", "cached")},
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
            "answers_not_taken": dict(Counter(reason for reasons in book.failures.values() for reason in reasons)),
        },
    }
