"""Feedback on both databases: stored once for each principal and kind, and deleted with its decision."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.decision_log.feedback import Feedback
from tests.decision_log.conftest import Open, answer, principal

VERDICT = Feedback("", "id-of-ann", "verdict", "ann", 5, '{"verdict": {"helpful": true}}')


async def test_feedback_is_stored_once_for_each_principal_and_kind(open_log: Open) -> None:
    async with AsyncExitStack() as gateways:
        one = await gateways.enter_async_context(open_log())
        await one.log.record(made := answer(), principal())
        assert await one.log.find(made.id, None)  # the tables exist before the other gateway starts
        other = await gateways.enter_async_context(open_log())
        first = replace(VERDICT, decision_id=made.id)
        more = [replace(first, principal_id="bob", at=6), replace(first, kind="outcome after 5", at=7)]
        for each in (first, *more):
            assert await one.log.add_feedback(each) == each
        assert await other.log.add_feedback(replace(first, at=8, content="{}")) == first
        assert await other.log.feedback_on(made.id) == [first, *more]
        assert await other.log.feedback_on(answer().id) == []


async def test_of_concurrent_feedback_one_is_stored(open_log: Open) -> None:
    async with AsyncExitStack() as gateways:
        one = await gateways.enter_async_context(open_log())
        await one.log.record(made := answer(), principal())
        assert await one.log.find(made.id, None)  # the tables exist before the other gateway starts
        other = await gateways.enter_async_context(open_log())
        sent = [replace(VERDICT, decision_id=made.id, content=str(number)) for number in range(8)]
        logs = [one, other] * 4
        stored = await asyncio.gather(*(log.log.add_feedback(each) for log, each in zip(logs, sent, strict=True)))
        assert len(set(stored)) == 1
        assert await one.log.feedback_on(made.id) == [stored[0]]


async def test_feedback_needs_its_decision_and_expires_with_it(open_log: Open) -> None:
    old = answer(created_at=datetime.now(UTC) - timedelta(days=31))
    async with open_log(decision_log_days=365) as log:
        assert await log.log.add_feedback(replace(VERDICT, decision_id=old.id)) is None
        await log.log.record(old, principal())
        assert await log.log.find(old.id, None)
        assert await log.log.add_feedback(replace(VERDICT, decision_id=old.id))
    async with open_log(decision_log_days=30) as log:
        await log.log.record(new := answer(), principal())
        assert await log.log.find(new.id, None)
        assert await log.log.find(old.id, None) is None
        assert await log.log.feedback_on(old.id) == []
