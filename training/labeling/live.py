"""Asking a question at a time, many at once, at the pace that the server allows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from uuid import uuid4

from openai import APIError, APIStatusError, AsyncOpenAI

from training.labeling.answers import answered
from training.labeling.cap import Cap
from training.labeling.connection import TeacherFailed, code_of, in_words, never_sent
from training.labeling.journal import Answered, Closed, Sent
from training.labeling.pace import Pace
from training.labeling.prompts import Question
from training.labeling.tariff import Tariff, body
from training.progress import Ticking

ATTEMPTS = 10
"""Times that one question is sent before the server is given up; with pauses, some six minutes."""

PATIENCE_S = 900.0
"""The longest pause that is waited for: a limit that takes longer to reset is a day's."""

OF_THE_PROMPT = ("invalid_prompt", "content_policy_violation", "content_filter")
"""Codes of refusals that say something of one prompt, not of all."""

TIMED_OUT = (408, 504)
"""What is said of a request that may yet have been worked on."""


class Live:
    """The teacher `openai`. What stops one call for good stops the rest, once those under way have ended."""

    def __init__(self, client: AsyncOpenAI, cap: Cap, tariff: Tariff, tries: int, concurrency: int) -> None:
        self._client, self._cap, self._tariff = client, cap, tariff
        self._tries, self._concurrency = tries, concurrency
        self._pace = Pace(time.monotonic, asyncio.sleep)
        self._stopped: Exception | None = None

    async def ask(self, questions: Iterable[Question]) -> None:
        """Until each has an answer in the journal, or has failed too often.

        Raises `CapReached` or `TeacherFailed` where it ends before.
        """
        pending = [one for one in questions if self._cap.journal.wants(one.key, self._tries)]
        ticking, queue = Ticking(len(pending), f"label {self._tariff.model}"), iter(pending)
        await asyncio.gather(*(self._work(queue, ticking) for _ in range(min(self._concurrency, len(pending)))))
        if self._stopped:
            raise self._stopped

    async def _work(self, queue: Iterator[Question], ticking: Ticking) -> None:
        for question in queue:
            try:
                while self._cap.journal.wants(question.key, self._tries) and not self._stopped:
                    await self._answer(question)
            except (ValueError, OSError) as error:
                self._stopped = self._stopped or error
            if self._stopped:
                return
            ticking.tick()

    async def _answer(self, question: Question) -> None:
        """One answer, good or bad; sent again while the server only asks to wait."""
        at_most = self._tariff.at_most(question.prompt)
        for attempt in range(ATTEMPTS):
            await self._pace.wait()
            if self._stopped:
                return
            call = uuid4().hex
            await self._cap.send(Sent(call=call, at_most={question.key: at_most}, at=int(time.time())))
            entry: Answered | Closed | None = None
            try:
                entry = await self._send(call, question, at_most)
                return
            except APIError as error:
                entry = _unpaid(call, question.key, error)
                if isinstance(entry, Answered):
                    return
                self._back_off(error, attempt)
            finally:
                await self._cap.settle(call, entry)

    async def _send(self, call: str, question: Question, at_most: int) -> Answered:
        raw = await self._client.chat.completions.with_raw_response.create(**body(self._tariff.model, question.prompt))
        self._pace.heed(raw.headers)
        try:
            document = json.loads(raw.content)
        except ValueError:
            document = None
        return answered(call, question.key, document, self._tariff, at_most)

    def _back_off(self, error: APIError, attempt: int) -> None:
        """Close the gate for a while, or raise `TeacherFailed` where waiting does not help."""
        status = error.status_code if isinstance(error, APIStatusError) else None
        passing = status is None or status in (408, 409, 429) or status >= 500
        if not passing or code_of(error) == "insufficient_quota" or attempt == ATTEMPTS - 1:
            raise TeacherFailed(in_words(error)) from None
        headers = error.response.headers if isinstance(error, APIStatusError) else {}
        if (pause := self._pace.refused(headers, attempt)) > PATIENCE_S:
            raise TeacherFailed(f"the teacher's server asks to wait for {pause:.0f} s: run again then") from None


def _unpaid(call: str, key: str, error: APIError) -> Answered | Closed | None:
    """How a call ended that brought no answer; None where one may be on its way, and the bill with it."""
    if isinstance(error, APIStatusError):
        reason = f"http {error.status_code}"
        if error.status_code == 400 and (code := code_of(error)) in OF_THE_PROMPT:
            return Answered(call=call, key=key, failure=f"{reason} {code}")
        return None if error.status_code in TIMED_OUT else Closed(call=call, reason=reason)
    return Closed(call=call, reason="not connected") if never_sent(error) else None
