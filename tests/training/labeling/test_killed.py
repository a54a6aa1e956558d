"""kill -9 in the middle of labelling, over HTTP: no label is lost, and none is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app.stand_in import create_stand_in
from tests.conftest import served
from training.artifacts import Artifacts

from .conftest import PROMPTS, Settings, journal_of, rows_of
from .stand_in_batches import StandInBatches

ROOT = Path(__file__).parents[3]
KEY = "sk-kill-0123456789abcdef"
MAX_PAUSE_S = 600
"""Far more than a process needs, even on a machine with much else to do."""


class Killing:
    """A server that kills its client, `after` chat completions have come in; it counts them by what they ask."""

    def __init__(self, app: ASGIApp, after: int) -> None:
        self.app, self.after = app, after
        self.received: Counter[str] = Counter()
        self.client: subprocess.Popen[bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/chat/completions":
            return await self.app(scope, receive, send)
        message = await receive()
        self.received[json.dumps(json.loads(message["body"])["messages"])] += 1
        if self.client and self.received.total() > self.after:
            self.client.send_signal(signal.SIGKILL)
            return None
        read = iter([message])

        async def again() -> Any:
            return next(read, None) or await receive()

        return await self.app(scope, again, send)


@contextmanager
def labelling(origin: str, config: Path, run: Artifacts) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m training label` in a child process."""
    command = [sys.executable, "-m", "training", "label", "--config", str(config), "--runs", str(run.folder.parent)]
    environment = {**os.environ, "OPENAI_BASE_URL": f"{origin}/v1", "OPENAI_API_KEY": KEY}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_run_loses_no_label_and_pays_for_none_twice(data: Artifacts, settings: Settings) -> None:
    server = Killing(create_stand_in(key=KEY), after=5)
    concurrency = 3
    config = settings(concurrency=concurrency)
    with served(server) as origin:
        with labelling(origin, config, data) as process:
            server.client = process
            assert process.wait(MAX_PAUSE_S) == -signal.SIGKILL
        server.client = None
        kept = journal_of(data)
        assert 5 - concurrency < len(kept.labels) <= 5
        assert kept.spent > kept.paid
        first = Counter(server.received)
        with labelling(origin, config, data) as process:
            assert process.wait(MAX_PAUSE_S) == 0, process.stderr and process.stderr.read().decode()
    assert data.done("label")
    again = {received for received, times in server.received.items() if times > 1}
    assert len(again) <= concurrency
    assert again <= set(first)
    assert len(first) - len(again) == len(kept.labels)
    final = journal_of(data)
    assert kept.labels.items() <= final.labels.items()
    assert server.received.total() == PROMPTS + len(again)
    unsettled = data.manifest("label")["cost"]["unsettled"]["calls"]
    assert len(again) <= unsettled <= concurrency  # the last may not have reached the server


def test_a_killed_run_finds_the_batch_whose_id_it_never_received(data: Artifacts, settings: Settings) -> None:
    server = StandInBatches(create_stand_in(key=KEY), KEY)
    config = settings("openai-batch")
    with served(server.app) as origin:
        with labelling(origin, config, data) as process:
            server.after_create = lambda: process.send_signal(signal.SIGKILL)
            assert process.wait(MAX_PAUSE_S) == -signal.SIGKILL
        server.after_create = lambda: None
        assert [call.batch_id for call in journal_of(data).batches] == [None]
        with labelling(origin, config, data) as process:
            assert process.wait(MAX_PAUSE_S) == 0, process.stderr and process.stderr.read().decode()
            assert process.stderr
            assert KEY not in process.stderr.read().decode()
    assert list(server.batches) == ["batch_1"]
    manifest = data.manifest("label")
    assert manifest["teacher"] == "openai-batch"
    assert manifest["cost"]["nano_usd"] == journal_of(data).spent
    assert len(rows_of(data)) == PROMPTS + 1


def test_a_batch_in_flight_is_read_before_anything_is_asked_by_the_call(
    data: Artifacts,
    settings: Settings,
) -> None:
    server = StandInBatches(create_stand_in(key=KEY), KEY)
    with served(server.app) as origin:
        with labelling(origin, settings("openai-batch"), data) as process:
            server.before_poll = lambda: process.send_signal(signal.SIGKILL)
            assert process.wait(MAX_PAUSE_S) == -signal.SIGKILL
        server.before_poll = lambda: None
        with labelling(origin, settings("openai"), data) as process:
            assert process.wait(MAX_PAUSE_S) == 0, process.stderr and process.stderr.read().decode()
    whole = sum(call["nano_usd"] for call in {row["prompt_hash"]: row for row in rows_of(data)}.values())
    cost = data.manifest("label")["cost"]
    assert (cost["nano_usd"], cost["unsettled"]["calls"]) == (whole, 0)
    assert len(server.requests["batch_1"]) == PROMPTS
