"""Labelling by concurrent single requests, at the rate that the server allows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

from openai import APIError, APIStatusError, AsyncOpenAI

from training.labeling.answers import parse_completion
from training.labeling.cap import Cap, Outcome
from training.labeling.connection import TeacherFailed, code_of, describe_error, never_sent
from training.labeling.journal import Answered
from training.labeling.prompts import Question
from training.labeling.rate_limiter import RateLimiter
from training.labeling.tariff import Tariff, body
from training.progress import progress

MAX_ATTEMPTS = 10
"""Requests per question before the server counts as failed; with pauses, about six minutes."""

MAX_PAUSE_S = 900.0
"""Longest pause accepted; a limit that resets later is a daily one."""

PROMPT_ERRORS = ("invalid_prompt", "content_policy_violation", "content_filter")
"""Error codes that concern one prompt only."""

TIMED_OUT = (408, 504)
"""Status codes after which the request may still be processed and billed."""


class Live:
    """The teacher `openai`. A permanent error stops all workers once their current calls have ended."""

    def __init__(self, client: AsyncOpenAI, cap: Cap, tariff: Tariff, tries: int, concurrency: int) -> None:
        self._client, self._cap, self._tariff = client, cap, tariff
        self._tries, self._concurrency = tries, concurrency
        self._rate_limiter = RateLimiter(time.monotonic, asyncio.sleep)
        self._stopped: Exception | None = None

    async def ask(self, questions: Iterable[Question]) -> None:
        """Query until each question has an answer or has exhausted its tries.

        Raises `CapReached` or `TeacherFailed` if labelling stops earlier.
        """
        pending = [one for one in questions if self._cap.journal.needs_answer(one.key, self._tries)]
        with progress(f"label {self._tariff.model}", total=len(pending)) as bar:
            queue = iter(pending)
            await asyncio.gather(*(self._work(queue, bar) for _ in range(min(self._concurrency, len(pending)))))
        if self._stopped:
            raise self._stopped

    async def _work(self, queue: Iterator[Question], bar: Any) -> None:
        for question in queue:
            try:
                while self._cap.journal.needs_answer(question.key, self._tries) and not self._stopped:
                    await self._answer(question)
            except (ValueError, OSError) as error:
                self._stopped = self._stopped or error
            if self._stopped:
                return
            bar.update()

    async def _answer(self, question: Question) -> None:
        """Get one result, retrying while the server asks to wait."""
        at_most = self._tariff.at_most(question.prompt)
        for attempt in range(MAX_ATTEMPTS):
            await self._rate_limiter.wait()
            if self._stopped:
                return
            call = uuid4().hex
            await self._cap.send(call, {question.key: at_most})
            outcome: Outcome = "unknown"
            try:
                outcome = await self._send(call, question, at_most)
                return
            except APIError as error:
                outcome = _outcome(call, question.key, error)
                if isinstance(outcome, Answered):
                    return
                self._back_off(error, attempt)
            finally:
                await self._cap.settle(call, outcome)

    async def _send(self, call: str, question: Question, at_most: int) -> Answered:
        raw = await self._client.chat.completions.with_raw_response.create(**body(self._tariff.model, question.prompt))
        self._rate_limiter.record_answer(raw.headers)
        try:
            document = json.loads(raw.content)
        except ValueError:
            document = None
        return parse_completion(call, question.key, document, self._tariff, at_most)

    def _back_off(self, error: APIError, attempt: int) -> None:
        """Pause all requests, or raise `TeacherFailed` if waiting does not help."""
        status = error.status_code if isinstance(error, APIStatusError) else None
        transient = status is None or status in (408, 409, 429) or status >= 500
        if not transient or code_of(error) == "insufficient_quota" or attempt == MAX_ATTEMPTS - 1:
            raise TeacherFailed(describe_error(error)) from None
        headers = error.response.headers if isinstance(error, APIStatusError) else {}
        if (pause := self._rate_limiter.record_refusal(headers, attempt)) > MAX_PAUSE_S:
            raise TeacherFailed(f"the teacher's server asks to wait for {pause:.0f} s: run again after that") from None


def _outcome(call: str, key: str, error: APIError) -> Outcome:
    """Return how a failed call ended; without a verdict of the server it may still be answered and billed."""
    if not isinstance(error, APIStatusError):
        return "unbilled" if never_sent(error) else "unknown"
    if error.status_code == 400 and (code := code_of(error)) in PROMPT_ERRORS:
        return Answered(call, key, failure=f"http 400 {code}")
    return "unknown" if error.status_code in TIMED_OUT else "unbilled"
