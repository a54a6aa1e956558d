"""The upstream and the compiled load generator, against each other over real connections."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gateway.hosted import tokens_per_second
from bench.gateway.load import RECORD, Generator, Load, Sample, Verdict
from bench.gateway.programs import compiled
from bench.gateway.upstream import Upstream, upstream
from bench.gateway.upstream_server import SERIAL
from bench.gateway.workload import KEY, MODEL, QUESTION, USAGE, chat, chat_script, write

CORES = (0,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Upstream]:
    with upstream(chat_script(folder), CORES) as running:
        yield running


@pytest.fixture(scope="module")
def generator(folder: Path) -> Generator:
    return Generator(compiled("load", folder), CORES, folder)


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_is_counted_on_both_sides(
    server: Upstream, generator: Generator, folder: Path, stream: bool
) -> None:
    before = server.counts()
    sample = generator.run(server.port, KEY, chat(folder, MODEL, stream), Load(60.0, 8, requests=200))
    sample.require_all_valid()
    counts = server.counts(since=before)
    assert (sample.valid, counts.requests, counts.answered, counts.invalid, counts.aborted) == (200, 200, 200, 0, 0)


def test_an_answer_to_another_request_is_wrong(server: Upstream, generator: Generator, folder: Path) -> None:
    body = chat(folder, MODEL).body.read_text().replace(SERIAL, "00000000")
    task = replace(chat(folder, MODEL), body=write(folder, "stale.json", body))
    assert generator.run(server.port, KEY, task, Load(60.0, 1, requests=2)).tally()["wrong"] == 2


def test_what_the_upstream_refuses_is_no_refusal_under_load(
    server: Upstream, generator: Generator, folder: Path
) -> None:
    before = server.counts()
    sample = generator.run(server.port, "sk-other", chat(folder, MODEL), Load(60.0, 2, requests=4))
    assert (sample.tally()["failed"], sample.tally()["refused"]) == (4, 0)
    assert server.counts(since=before).invalid == 4
    assert server.counts().reason == "the key is not the upstream's"


def body(**changes: Any) -> bytes:
    message = {"role": "user", "content": QUESTION.replace(SERIAL, "00000007")}
    return json.dumps({"model": MODEL, "messages": [message], **changes}).encode()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (body()[:-1], "the body is not JSON"),
        (body() + b"x", "the body is not JSON"),
        (body(model="gpt-4"), "the model is not the one served"),
        (body(messages=[]), "there is not one message, the user's"),
        (body(messages=[{"role": "system", "content": "x"}]), "there is not one message, the user's"),
        (body(messages=[{"role": "user", "content": "x"}]), "the message is not the one expected"),
        (body(messages=[{"role": "user", "content": QUESTION}]), "the message is not the one expected"),
        (body(messages=[{"role": "user", "content": "x"}] * 2), "there is not one message, the user's"),
    ],
)
def test_the_upstream_takes_no_other_request(server: Upstream, sent: bytes, reason: str) -> None:
    assert post(server, sent) == 400
    assert server.counts().reason == reason


def post(server: Upstream, sent: bytes) -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", sent, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_the_pace_is_kept(server: Upstream, generator: Generator, folder: Path) -> None:
    server.pace(40, 5)
    try:
        sample = generator.run(server.port, KEY, chat(folder, MODEL, stream=True), Load(60.0, 4, requests=8))
    finally:
        server.pace(0, 0)
    sample.require_all_valid()
    assert sample.first_ms().min() >= 45  # the first event has no text yet
    events = len(json.loads(chat_script(folder).read_text())["events"])
    assert sample.latency_ms().min() >= 40 + 5 * (events - 1)


def test_an_abandoned_stream_is_counted_as_aborted(server: Upstream) -> None:
    before = server.counts()
    server.pace(10_000, 0)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            sent = body(stream=True)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(sent)}"
            client.sendall(head.encode() + b"\r\n\r\n" + sent)
            while server.counts(since=before).requests == 0:
                pass
    finally:
        server.pace(0, 0)
    while server.counts(since=before).aborted == 0:
        pass


def test_an_open_loop_sends_what_is_due_and_counts_from_then(
    server: Upstream, generator: Generator, folder: Path
) -> None:
    server.pace(100, 0)
    try:
        sample = generator.run(server.port, KEY, chat(folder, MODEL), Load(1.0, 1, rate=20))
    finally:
        server.pace(0, 0)
    sample.require_all_valid()
    assert len(sample.records) == 20
    assert np.diff(np.sort(sample.records["due_ns"])) == pytest.approx(50e6)
    assert sample.latency_ms().max() > 900  # on one connection each waits for those before it


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A server that closes the connection after `answer`; without one it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def serve() -> None:
            for _ in range(2):
                client, _address = listener.accept()
                client.recv(65536)
                if answer is None:
                    kept.append(client)
                else:
                    client.sendall(answer)
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        for client in kept:
            client.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"", "broken"),
        (HEAD + b'{"choices"', "broken"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", "wrong"),
        (b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\n{}", "refused"),
        (None, "unfinished"),
    ],
)
def test_other_outcomes_are_distinguished(
    generator: Generator, folder: Path, answer: bytes | None, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.gateway.load.GRACE_S", 0.2)
    with answering(answer) as port:
        sample = generator.run(port, KEY, chat(folder, MODEL), Load(0.5, 1, requests=2))
    assert sample.tally()[verdict] == len(sample.records) > 0


def test_what_was_due_and_never_sent_is_unfinished(
    generator: Generator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.gateway.load.GRACE_S", 0.2)
    with answering(None) as port:
        sample = generator.run(port, KEY, chat(folder, MODEL), Load(0.5, 1, rate=10))
    assert sample.tally()["unfinished"] == len(sample.records) == 5


def records(*rows: tuple[int, int, int, int, Verdict]) -> Sample:
    """Return records from (due, first, end) in ms, status and verdict."""
    made = np.zeros(len(rows), RECORD)
    for place, (due, first, end, status, verdict) in enumerate(rows):
        made[place] = (due * 1_000_000, due * 1_000_000, first * 1_000_000, end * 1_000_000, status, verdict, 1, -1)
    return Sample(made, seconds=1.0)


def test_throughput_counts_valid_answers_within_the_time() -> None:
    valid, refused = Verdict.VALID, Verdict.REFUSED
    sample = records(
        (0, 5, 10, 200, valid), (900, 950, 1000, 200, valid), (900, 990, 1100, 200, valid), (0, 0, 1, 429, refused)
    )
    assert sample.throughput == 2.0
    assert sample.latency_ms().tolist() == [10, 100, 200]
    assert sample.first_ms().tolist() == [5, 50, 90]
    assert sample.latency_ms(sample.refused).tolist() == [1]


def test_an_error_is_no_refusal() -> None:
    refused = Verdict.REFUSED
    sample = records((0, 0, 1, 429, refused), (0, 0, 1, 503, refused), (0, 0, 1, 500, refused))
    assert (sample.tally()["refused"], sample.tally()["failed"]) == (2, 1)


def test_tokens_are_read_from_the_usage_of_an_answer(server: Upstream, generator: Generator, folder: Path) -> None:
    task = replace(chat(folder, MODEL, stream=True), expected=None)
    sample = generator.run(server.port, KEY, task, Load(60.0, 2, requests=4))
    assert sample.records["tokens"].tolist() == [USAGE["completion_tokens"]] * 4
    taken_s = sample.records["end_ns"].max() / 1e9
    assert tokens_per_second(sample) >= 4 * USAGE["completion_tokens"] / taken_s
