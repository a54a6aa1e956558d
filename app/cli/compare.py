"""`conviction compare`: one question to two backends, or the questions of a file and a report of the answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.cli import client, comparison_text, question, streams
from app.cli.colour import Line
from app.cli.progress import Progress
from app.cli.rows import Rows

PATH = "/v1/comparisons"
MAX_CONCURRENCY = 8
MAX_TICKERS = 1000
"""The gateway's limit of tickers per report; with more, the report is requested by time span alone."""

Json = client.Json


def run(argv: Sequence[str]) -> int:
    """Ask and print; 1 if a side failed. Raises as `client.call` does, and `InvalidRequest`."""
    options = question.parse(parser(), argv)
    questions = question.questions(options)
    if options.batch is None and len(questions) == 1:
        return compare_one(questions[0], options.output or "text", options.sides)
    return compare_many(questions, options)


def parser() -> argparse.ArgumentParser:
    parser = question.parser(
        "compare",
        "Ask two backends of a running gateway; with --batch, print a report.",
        "text; a table and CSV have a row per side and no report",
    )
    parser.add_argument(
        "--sides", metavar="A,B", help="the backends: mistral,gpt-4 (the default), candidate,mistral or candidate,gpt-4"
    )
    parser.add_argument("--half-width", type=float, metavar="SHARE", help="target precision of the agreement estimate")
    return parser


def compare_one(body: Json, form: str, sides: str | None = None) -> int:
    """Print both answers; return 1 if a side failed, else 0."""
    answer = client.call("POST", _path(sides), body)
    match form:
        case "text":
            streams.write(*comparison_text.comparison(answer))
        case "json":
            streams.write(json.dumps(answer, indent=2))
        case _:
            _print_rows(Rows(form, "agree"), 0, body, answer)
    return int(_failed(answer))


def compare_many(questions: Sequence[Any], options: argparse.Namespace) -> int:
    """Ask every question. Print the pairs as they arrive, except those of a batch as text, and a batch's report.

    Returns 1 if a question was refused or a side failed.
    """
    form, reported = options.output or "text", options.batch is not None and options.output in (None, "text", "json")
    pairs, failed, progress, rows = [], 0, Progress(len(questions)), Rows(form, "agree")
    try:
        for index, answer in _answers(questions, options.detail, options.sides):
            failed += _failed(answer)
            if "sides" in answer:
                pairs.append(answer)
            progress.clear()
            if form == "json":
                streams.write(json.dumps({"index": index, **answer}))
            elif form != "text":
                _print_rows(rows, index, questions[index], answer)
            elif "problem" in answer:
                streams.note(Line(f"question {index + 1}: {answer['problem'].get('detail')}", "error"))
            elif not reported:
                streams.write(*comparison_text.comparison(answer), "")
            progress.advance(failed)
    finally:
        progress.end()
    if reported:
        stored = [answer for answer in pairs if answer["stored"]]
        query = {"half_width": options.half_width, "sides": options.sides}
        _print_report(stored, len(pairs), query, as_json=form == "json")
    return int(failed > 0)


def _print_rows(rows: Rows, index: int, asked: Any, answer: Json) -> None:
    if "problem" in answer:
        rows.print(index, asked, None, answer["problem"])
        return
    for name, side in answer["sides"].items():
        rows.print(index, asked, side["answer"], side["problem"], backend=name, agree=answer["agree"])


def _answers(questions: Sequence[Any], detail: str, sides: str | None) -> Iterator[tuple[int, Json]]:
    """Yield each question's index and its answer or `problem`, in the order of the answers."""
    pool = ThreadPoolExecutor(MAX_CONCURRENCY)
    try:
        pending: dict[Future[Json], int] = {
            pool.submit(_compare, {"detail": detail, **body} if isinstance(body, dict) else body, sides): index
            for index, body in enumerate(questions)
        }
        for each in as_completed(pending):
            yield pending[each], each.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _compare(body: Any, sides: str | None) -> Json:
    try:
        return client.call("POST", _path(sides), body)
    except client.Refused as error:
        return {"problem": error.document}


def _path(sides: str | None) -> str:
    return PATH if sides is None else f"{PATH}?{urlencode({'sides': sides})}"


def _failed(answer: Json) -> bool:
    return "problem" in answer or any(side["problem"] for side in answer["sides"].values())


def _print_report(stored: Sequence[Json], pairs: int, query: Json, *, as_json: bool) -> None:
    """Print the gateway's report of the pairs' tickers in the time span of the pairs; `query` may add parameters."""
    if pairs > len(stored):
        streams.note(f"{pairs - len(stored)} of {pairs} pairs were not stored: the report excludes them")
    if not stored:
        return
    document = client.call("GET", f"{PATH}/report?{urlencode(_report_query(stored, query))}")
    if document["pairs"] > len(stored):
        others = document["pairs"] - len(stored)
        streams.note(f"the report includes {others} pairs of other clients for these tickers")
    streams.write(json.dumps({"report": document}) if as_json else comparison_text.report(document))


def _report_query(stored: Sequence[Json], more: Json) -> Json:
    times = [datetime.fromisoformat(answer["at"]) for answer in stored]
    tickers = {answer["ticker"] for answer in stored}
    query = {"from": min(times).isoformat(), "to": (max(times) + timedelta(milliseconds=1)).isoformat()}
    if None not in tickers and len(tickers) <= MAX_TICKERS:
        query["tickers"] = ",".join(sorted(tickers))
    return query | {name: value for name, value in more.items() if value is not None}
