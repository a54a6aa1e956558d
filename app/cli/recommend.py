"""`conviction recommend`: one recommendation, or with --batch a line of JSON for each question of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.cli import client, question, streams
from app.cli.progress import Progress
from app.cli.recommendation_text import recommendation

BACKENDS = ("mistral", "gpt-4", "cascade")
MAX_ITEMS = 1000
"""The gateway's limit of questions per batch; a longer file is sent as several."""


def run(argv: Sequence[str]) -> int:
    """Ask and print; 1 if any question of a batch failed. Raises as `client.call` does, and `InvalidRequest`."""
    parser = question.parser("recommend", "Ask a running gateway (CONVICTION_URL, CONVICTION_API_KEY).")
    parser.add_argument("--backend", choices=BACKENDS, help="the backend that answers (default: the gateway's)")
    parser.add_argument("--fallback", choices=("mistral", "gpt-4"), help="the backend to use if that one fails")
    options = question.parse(parser, argv)
    headers = {
        name: value
        for name, value in {"X-Backend": options.backend, "X-Fallback": options.fallback}.items()
        if value is not None
    }
    if options.batch is not None:
        return recommend_batch(question.read_batch(options.batch), headers, options.detail)
    answer = client.call("POST", "/v1/recommendations", question.body(options), headers)
    streams.write(json.dumps(answer, indent=2) if options.json else recommendation(answer))
    return 0


def recommend_batch(questions: Sequence[Any], headers: Mapping[str, str], detail: str) -> int:
    """Print each answer as a line of JSON when it arrives; return 1 if any question failed, else 0."""
    failed, progress = 0, Progress(len(questions))
    try:
        for line in _answers(questions, headers, detail):
            failed += "problem" in line
            progress.clear()
            streams.write(json.dumps(line))
            progress.advance(failed)
    finally:
        progress.end()
    return int(failed > 0)


def _answers(questions: Sequence[Any], headers: Mapping[str, str], detail: str) -> Iterator[client.Json]:
    """Yield a line per question in the order of the answers; raise `Unreachable` if some are missing."""
    for start in range(0, len(questions), MAX_ITEMS):
        items = questions[start : start + MAX_ITEMS]
        complete = False
        for line in client.lines("/v1/recommendations/batch", {"items": items, "detail": detail}, headers):
            if "index" in line:
                yield {**line, "index": start + line["index"]}
            complete = "summary" in line
        if not complete:
            raise client.Unreachable("the gateway closed the connection before all questions were answered")
