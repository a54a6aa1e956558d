"""`conviction compare`: the same question to both backends, or a list of questions and a report of their answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.cli import client, comparison_text
from app.cli.batch import Progress, read

PATH = "/v1/comparisons"
AT_ONCE = 8
MOST_TICKERS = 1000
"""That a report can be asked for; of more, it is asked for the span of time alone."""

Json = client.Json


def compare(options: argparse.Namespace) -> int:
    """Ask, and show what both said; 1 where a side failed. Raises as `client.call` does, and `InvalidRequest`."""
    if options.batch is not None:
        return compare_batch(options.batch, options.half_width, brief=options.brief, as_json=options.json)
    body = client.body(options.ticker, options.metrics, options.as_of, brief=options.brief)
    answer = client.call("POST", PATH, body)
    print(json.dumps(answer, indent=2) if options.json else comparison_text.comparison(answer))
    return int(_failed(answer))


def compare_batch(file: str, half_width: float | None, *, brief: bool, as_json: bool) -> int:
    """Ask every question of a file, and print the report of the pairs; as JSON, a line for each before it.

    1 where a question was refused or a side failed.
    """
    questions, made, failed = read(file), [], 0
    progress = Progress(len(questions))
    try:
        for index, answer in _answers(questions, "brief" if brief else "full"):
            failed += _failed(answer)
            if "sides" in answer:
                made.append(answer)
            progress.clear()
            if as_json:
                print(json.dumps({"index": index, **answer}), flush=True)
            elif "problem" in answer:
                print(f"question {index + 1}: {answer['problem'].get('detail')}", file=sys.stderr)
            progress.show(failed)
    finally:
        progress.end()
    _report([answer for answer in made if answer["stored"]], len(made), half_width, as_json=as_json)
    return int(failed > 0)


def _answers(questions: Sequence[Any], detail: str) -> Iterator[tuple[int, Json]]:
    """The place of each question and its answer, or a `problem`, as they come."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        asked: dict[Future[Json], int] = {
            pool.submit(_ask, {"detail": detail, **question} if isinstance(question, dict) else question): index
            for index, question in enumerate(questions)
        }
        for each in as_completed(asked):
            yield asked[each], each.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ask(body: Any) -> Json:
    try:
        return client.call("POST", PATH, body)
    except client.Refused as error:
        return {"problem": error.document}


def _failed(answer: Json) -> bool:
    return "problem" in answer or any(side["problem"] for side in answer["sides"].values())


def _report(stored: Sequence[Json], made: int, half_width: float | None, *, as_json: bool) -> None:
    """The gateway's report of the span of time and the tickers that the pairs are of."""
    if made > len(stored):
        print(f"{made - len(stored)} of {made} pairs are not stored: the report leaves them out", file=sys.stderr)
    if not stored:
        return
    document = client.call("GET", f"{PATH}/report?{urlencode(_span(stored, half_width))}")
    if document["pairs"] > len(stored):
        others = document["pairs"] - len(stored)
        print(f"the report has {others} pairs more, which others made of these tickers meanwhile", file=sys.stderr)
    print(json.dumps({"report": document}) if as_json else comparison_text.report(document))


def _span(stored: Sequence[Json], half_width: float | None) -> dict[str, str]:
    times = [datetime.fromisoformat(answer["at"]) for answer in stored]
    tickers = {answer["ticker"] for answer in stored}
    asked = {"from": min(times).isoformat(), "to": (max(times) + timedelta(milliseconds=1)).isoformat()}
    if None not in tickers and len(tickers) <= MOST_TICKERS:
        asked["tickers"] = ",".join(sorted(tickers))
    return asked if half_width is None else {**asked, "half_width": str(half_width)}
