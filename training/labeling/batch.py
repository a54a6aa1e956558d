"""Labelling through OpenAI's Batch API, at half the price.

A batch is written to the journal before it is created, and carries its journal name as metadata, so that a restarted
process finds it again whenever the previous one died.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from openai import APIError, AsyncOpenAI
from openai.types import Batch
from pydantic import BaseModel, ConfigDict, ValidationError

from training.labeling.answers import parse_completion
from training.labeling.cap import Cap
from training.labeling.connection import TeacherFailed, code_of, describe_error
from training.labeling.journal import Answered, OpenBatch
from training.labeling.prompts import Question
from training.labeling.tariff import Tariff, body
from training.progress import progress

MAX_BYTES = 200_000_000
"""Maximum bytes of one input file (OpenAI, Batch API)."""

ENDED = ("completed", "failed", "expired", "cancelled")
NAME = "conviction_call"
"""Metadata key of a batch's journal name."""

FIRST_POLL_S, MAX_POLL_S = 1.0, 60.0
CLOCK_SKEW_S = 3600
"""Tolerated clock difference when a batch is searched by its creation time."""


class _Response(BaseModel):
    status_code: int
    body: Any = None


class _Result(BaseModel):
    """A line of a result file."""

    model_config = ConfigDict(extra="ignore")

    custom_id: str
    response: _Response | None = None
    error: dict[str, Any] | None = None


class Batches:
    """The teacher `openai-batch`. `client` may retry idempotent requests; creating a batch is not retried."""

    def __init__(self, client: AsyncOpenAI, cap: Cap, tariff: Tariff, tries: int, requests: int) -> None:
        self._client, self._cap, self._journal, self._tariff = client, cap, cap.journal, tariff
        self._tries, self._requests = tries, requests

    async def ask(self, questions: Iterable[Question]) -> None:
        """Collect the batches that an earlier process left open, then submit others, one at a time, until each question
        has an answer or has exhausted its tries.

        Raises `CapReached` or `TeacherFailed` if labelling stops earlier.
        """
        questions = list(questions)
        try:
            await self._collect_open()
            while pending := [one for one in questions if self._journal.needs_answer(one.key, self._tries)]:
                await self._collect(*await self._submit(pending))
        except APIError as error:
            raise TeacherFailed(describe_error(error)) from None

    async def _collect_open(self) -> None:
        for batch in self._journal.open_batches():
            if (batch_id := batch.batch_id or await self._find(batch)) is None:
                self._journal.unbilled(batch.call)
                continue
            self._journal.submitted(batch.call, batch_id)
            await self._collect(batch, batch_id)

    async def _submit(self, pending: Sequence[Question]) -> tuple[OpenBatch, str]:
        """Create a batch of as many questions as fit the limits and the cap; return it with the server's id."""
        at_most: dict[str, int] = {}
        lines: list[bytes] = []
        left = self._cap.left
        for question, line in zip(pending, self._lines(pending), strict=False):
            cost = self._tariff.at_most(question.prompt)
            if cost > left:
                break
            left -= cost
            at_most[question.key] = cost
            lines.append(line)
        if not lines:
            raise self._cap.reached(self._tariff.at_most(pending[0].prompt))
        call = uuid4().hex
        file = await self._client.files.create(file=(f"{call}.jsonl", b"".join(lines)), purpose="batch")
        self._journal.send(call, at_most, batch=True)
        created = await self._client.with_options(max_retries=0).batches.create(
            completion_window="24h",
            endpoint="/v1/chat/completions",
            input_file_id=file.id,
            metadata={NAME: call},
        )
        self._journal.submitted(call, created.id)
        return self._journal.batch(call), created.id

    def _lines(self, pending: Sequence[Question]) -> Iterator[bytes]:
        """Yield the input file's lines, up to `MAX_BYTES`."""
        size = 0
        for question in pending[: self._requests]:
            request = {"custom_id": question.key, "method": "POST", "url": "/v1/chat/completions"}
            line = (
                json.dumps({**request, "body": body(self._tariff.model, question.prompt, batch=True)}).encode() + b"\n"
            )
            size += len(line)
            if size > MAX_BYTES:
                return
            yield line

    async def _find(self, sent: OpenBatch) -> str | None:
        """Return the id of a sent batch if the server has it; batches are listed newest first."""
        async for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(NAME) == sent.call:
                return batch.id
            if batch.created_at < sent.sent_at - CLOCK_SKEW_S:
                return None
        return None

    async def _collect(self, sent: OpenBatch, batch_id: str) -> None:
        """Wait for a batch and journal its results; a question without a result counts as failed."""
        batch = await self._ended(batch_id, len(sent.at_most))
        if batch.status == "failed":
            codes = sorted({code_of(error) or "unknown" for error in (batch.errors and batch.errors.data) or ()})
            self._journal.unbilled(sent.call)
            raise TeacherFailed(
                f"batch {batch.id} was rejected ({', '.join(codes) or 'no reason given'}); "
                "if a token limit was exceeded, reduce teacher.batch_requests"
            )
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = (await self._client.files.content(file_id)).content
            for number, line in enumerate(content.splitlines(), 1):
                self._record(sent, line, f"file {file_id} of batch {batch.id}, line {number}")
        for key in sorted(sent.waiting):
            self._journal.answered(Answered(sent.call, key, failure=f"no result, batch {batch.status}"))

    def _record(self, sent: OpenBatch, line: bytes, where: str) -> None:
        try:
            result = _Result.model_validate_json(line)
        except ValidationError as error:
            raise TeacherFailed(f"{where}: {error.errors()[0]['msg']}") from None
        if result.custom_id not in sent.at_most:
            raise TeacherFailed(f"{where}: its custom_id is not a question of this batch")
        if result.custom_id in sent.waiting:
            sent.waiting.remove(result.custom_id)
            self._journal.answered(self._answered(sent, result))

    def _answered(self, sent: OpenBatch, result: _Result) -> Answered:
        """Return the journal's row of a result; failed requests are not billed."""
        response, key = result.response, result.custom_id
        if response and response.status_code == 200:
            return parse_completion(sent.call, key, response.body, self._tariff, sent.at_most[key])
        refused = (response.body or {}).get("error") if response else result.error
        reason = f"http {response.status_code}" if response else "batch"
        return Answered(sent.call, key, failure=f"{reason} {code_of(refused) or ''}".strip())

    async def _ended(self, batch_id: str, total: int) -> Batch:
        """Poll with exponential backoff until the batch has ended."""
        pause = FIRST_POLL_S
        with progress(f"batch {batch_id}", total=total) as bar:
            while (batch := await self._client.batches.retrieve(batch_id)).status not in ENDED:
                if counts := batch.request_counts:
                    bar.update(counts.completed + counts.failed - bar.n)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_POLL_S)
        return batch
