"""`conviction compare`: one question to both backends, or the questions of a file and a report of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.cli import client, comparison_text, question, streams
from app.cli.progress import Progress

PATH = "/v1/comparisons"
MAX_CONCURRENCY = 8
MAX_TICKERS = 1000
"""The gateway's limit of tickers per report; with more, the report is requested by time span alone."""

Json = client.Json


def run(argv: Sequence[str]) -> int:
    """Ask and print; 1 if a side failed. Raises as `client.call` does, and `InvalidRequest`."""
    parser = question.parser("compare", "Ask both backends of a running gateway; with --batch, print a report.")
    parser.add_argument("--half-width", type=float, metavar="SHARE", help="target precision of the agreement estimate")
    options = question.parse(parser, argv)
    if options.batch is not None:
        return compare_batch(
            question.read_batch(options.batch), options.half_width, options.detail, as_json=options.json
        )
    answer = client.call("POST", PATH, question.body(options))
    streams.write(json.dumps(answer, indent=2) if options.json else comparison_text.comparison(answer))
    return int(_failed(answer))


def compare_batch(questions: Sequence[Any], half_width: float | None, detail: str, *, as_json: bool) -> int:
    """Ask every question and print the report of the pairs; as JSON, a line per pair comes first.

    Returns 1 if a question was refused or a side failed.
    """
    pairs, failed, progress = [], 0, Progress(len(questions))
    try:
        for index, answer in _answers(questions, detail):
            failed += _failed(answer)
            if "sides" in answer:
                pairs.append(answer)
            progress.clear()
            if as_json:
                streams.write(json.dumps({"index": index, **answer}))
            elif "problem" in answer:
                streams.note(f"question {index + 1}: {answer['problem'].get('detail')}")
            progress.advance(failed)
    finally:
        progress.end()
    _print_report([answer for answer in pairs if answer["stored"]], len(pairs), half_width, as_json=as_json)
    return int(failed > 0)


def _answers(questions: Sequence[Any], detail: str) -> Iterator[tuple[int, Json]]:
    """Yield each question's index and its answer or `problem`, in the order of the answers."""
    pool = ThreadPoolExecutor(MAX_CONCURRENCY)
    try:
        pending: dict[Future[Json], int] = {
            pool.submit(_compare, {"detail": detail, **body} if isinstance(body, dict) else body): index
            for index, body in enumerate(questions)
        }
        for each in as_completed(pending):
            yield pending[each], each.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _compare(body: Any) -> Json:
    try:
        return client.call("POST", PATH, body)
    except client.Refused as error:
        return {"problem": error.document}


def _failed(answer: Json) -> bool:
    return "problem" in answer or any(side["problem"] for side in answer["sides"].values())


def _print_report(stored: Sequence[Json], pairs: int, half_width: float | None, *, as_json: bool) -> None:
    """Print the gateway's report of the pairs' tickers in the time span of the pairs."""
    if pairs > len(stored):
        streams.note(f"{pairs - len(stored)} of {pairs} pairs were not stored: the report excludes them")
    if not stored:
        return
    document = client.call("GET", f"{PATH}/report?{urlencode(_report_query(stored, half_width))}")
    if document["pairs"] > len(stored):
        others = document["pairs"] - len(stored)
        streams.note(f"the report includes {others} pairs of other clients for these tickers")
    streams.write(json.dumps({"report": document}) if as_json else comparison_text.report(document))


def _report_query(stored: Sequence[Json], half_width: float | None) -> dict[str, str]:
    times = [datetime.fromisoformat(answer["at"]) for answer in stored]
    tickers = {answer["ticker"] for answer in stored}
    query = {"from": min(times).isoformat(), "to": (max(times) + timedelta(milliseconds=1)).isoformat()}
    if None not in tickers and len(tickers) <= MAX_TICKERS:
        query["tickers"] = ",".join(sorted(tickers))
    return query if half_width is None else {**query, "half_width": str(half_width)}
