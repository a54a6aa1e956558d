"""`conviction recommend`: recommendations for stocks, or for the questions of a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.cli import client, question, streams
from app.cli.analysis_stream import watch
from app.cli.colour import Line
from app.cli.progress import Progress
from app.cli.recommendation_text import problem, recommendation
from app.cli.rows import Rows

PATH = "/v1/recommendations"
BACKENDS = ("mistral", "gpt-4", "candidate", "cascade")
MAX_ITEMS = 1000
"""The gateway's limit of questions per batch; more are sent as several."""

Headers = Mapping[str, str]


def run(argv: Sequence[str]) -> int:
    """Ask and print; 1 if any of several questions failed. Raises as `client.call` does, and `InvalidRequest`."""
    options = question.parse(parser(), argv)
    headers = {
        name: value
        for name, value in {"X-Backend": options.backend, "X-Fallback": options.fallback}.items()
        if value is not None
    }
    questions = question.questions(options)
    if options.batch is None and len(questions) == 1:
        recommend_one(questions[0], headers, options.output or "text")
        return 0
    form = options.output or ("text" if options.batch is None else "json")
    return recommend_many(questions, headers, options.detail, form)


def parser() -> argparse.ArgumentParser:
    parser = question.parser(
        "recommend", "Ask a running gateway (CONVICTION_URL, CONVICTION_API_KEY).", "text; with --batch: json"
    )
    parser.add_argument("--backend", choices=BACKENDS, help="the backend that answers (default: the gateway's)")
    parser.add_argument("--fallback", choices=("mistral", "gpt-4"), help="the backend to use if that one fails")
    return parser


def recommend_one(body: client.Json, headers: Headers, form: str) -> None:
    """Print one answer; on a terminal, an analysis is printed while the model writes it."""
    if form == "text" and body["detail"] == "full" and streams.is_terminal():
        answer = watch(PATH, body, headers)
        streams.write("", *recommendation(answer, streamed=True))
        return
    answer = client.call("POST", PATH, body, headers)
    match form:
        case "text":
            streams.write(*recommendation(answer))
        case "json":
            streams.write(json.dumps(answer, indent=2))
        case _:
            Rows(form).print(0, body, answer, None)


def recommend_many(questions: Sequence[Any], headers: Headers, detail: str, form: str) -> int:
    """Print each answer when it arrives; return 1 if any question failed, else 0."""
    failed, progress, print_line = 0, Progress(len(questions)), printer(form, questions)
    try:
        for line in answers(questions, headers, detail=detail):
            failed += "problem" in line
            progress.clear()
            print_line(line)
            progress.advance(failed)
    finally:
        progress.end()
    return int(failed > 0)


def printer(form: str, questions: Sequence[Any]) -> Callable[[client.Json], None]:
    """Return what prints a batch's line in a form."""
    rows = Rows(form)

    def print_text(line: client.Json) -> None:
        if "answer" in line:
            streams.write(*recommendation(line["answer"]), "")
        else:
            asked = questions[line["index"]]
            name = asked.get("ticker") if isinstance(asked, dict) else None
            name = name or f"question {line['index'] + 1}"
            streams.note(Line(f"{name}: {problem(line['problem'])}", "error"))

    def print_row(line: client.Json) -> None:
        rows.print(line["index"], questions[line["index"]], line.get("answer"), line.get("problem"))

    return {"json": lambda line: streams.write(json.dumps(line)), "text": print_text}.get(form, print_row)


def answers(questions: Sequence[Any], headers: Headers, **fields: Any) -> Iterator[client.Json]:
    """Yield a line per question in the order of the answers; raise `Unreachable` if some are missing.

    `fields` are those of a batch beside its items.
    """
    for start in range(0, len(questions), MAX_ITEMS):
        items = questions[start : start + MAX_ITEMS]
        complete = False
        for line in client.lines(f"{PATH}/batch", {"items": items, **fields}, headers):
            if "index" in line:
                yield {**line, "index": start + line["index"]}
            complete = "summary" in line
        if not complete:
            raise client.Unreachable("the gateway closed the connection before all questions were answered")
