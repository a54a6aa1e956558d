"""`conviction replay`: the questions of a running gateway's decision log, asked again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from urllib.parse import urlencode

from app.cli import client, streams
from app.cli.client import Json
from app.cli.main import EPILOG
from app.cli.progress import Progress
from app.cli.recommend import PATH, answers
from app.cli.replay_report import Replay, report, version
from app.cli.replay_text import text
from app.cli.rows import add_output
from app.contract.completion import ALL_BACKENDS
from app.errors import InvalidRequest

PAGE = 200
LIMIT = 1000


def run(argv: Sequence[str]) -> int:
    """Ask again and print the report, also that of a replay that ends early; 1 if a question failed.

    Raises as `client.call` does, and `InvalidRequest` if no logged answer is selected.
    """
    options = parser().parse_args(argv)
    require_ready(options.backend)
    logged = list(islice(selected(options), options.limit + 1))
    if not logged:
        raise InvalidRequest("the decision log has no recommendation of this selection that the key may read")
    if len(logged) > options.limit:
        streams.note(f"more than {options.limit} recommendations are selected: the newest are replayed; see --limit")
    replay = Replay(questions(logged[: options.limit]))
    try:
        ask(replay, options)
    finally:
        if replay.started:
            found = report(replay, options.backend)
            streams.write(json.dumps(found, indent=2) if options.output == "json" else text(found))
    return int(bool(replay.problems))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="conviction replay",
        description="Ask the questions of a running gateway's decision log again, with the logged metrics, and compare "
        "the answers. The key (CONVICTION_API_KEY) reads what it received, an admin's key all. Every question is a "
        "call that is paid, and its answer is logged as any other.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--backend", choices=ALL_BACKENDS, required=True, help="the backend that answers")
    top.add_argument("--from", dest="start", metavar="TIME", help="recommendations from this date or time on")
    top.add_argument("--to", dest="end", metavar="TIME", help="recommendations before this date or time")
    top.add_argument("--ticker", help="only recommendations for this stock")
    top.add_argument("--backend-logged", choices=ALL_BACKENDS, help="only recommendations of this backend")
    top.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help="at most the newest N (%(default)s)")
    top.add_argument(
        "--concurrency", type=positive, metavar="N", help="questions in progress, at most (the gateway's limit)"
    )
    add_output(top, ("table", "json"), "table")
    return top


def positive(text: str) -> int:
    """Return a number above 0."""
    if not (text.isascii() and text.isdecimal() and int(text[:10]) > 0):
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text[:10])


def require_ready(backend: str) -> None:
    """Raise `client.Refused` unless the gateway can call the backend."""
    states = client.call("GET", "/v1/backends")["backends"]
    absent = {"ready": False, "reason": f"{backend} is not set up: set CONVICTION_CANDIDATE_URLS"}
    state = next((each for each in states if each["name"] == backend), absent)
    if not state["ready"]:
        raise client.Refused({"title": "Backend unavailable", "code": "backend_unavailable", "detail": state["reason"]})


def selected(options: argparse.Namespace) -> Iterator[Json]:
    """Yield the selected recommendations of the log, the newest first."""
    query = {
        **{"from": options.start, "to": options.end, "ticker": options.ticker, "backend": options.backend_logged},
        "limit": PAGE,
        "cursor": None,
    }
    while True:
        given = {name: value for name, value in query.items() if value is not None}
        page = client.call("GET", f"{PATH}?{urlencode(given)}")
        yield from (each["recommendation"] for each in page["recommendations"])
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def questions(logged: Sequence[Json]) -> Sequence[Sequence[Json]]:
    """Return the logged answers by question: for each question, the newest of each model and version of the prompt."""
    found: dict[str, dict[tuple[str, ...], Json]] = {}
    for answer in logged:
        question = json.dumps(body(answer), sort_keys=True)
        found.setdefault(question, {}).setdefault(version(answer), answer)
    return [list(by_version.values()) for by_version in found.values()]


def body(answer: Json) -> Json:
    """Return the request whose answer was logged, with the metrics that were looked up for it."""
    question = {name: answer[name] for name in ("ticker", "metrics", "blind") if answer[name] is not None}
    return {**question, "detail": "brief" if answer["analysis"] is None else "full"}


def ask(replay: Replay, options: argparse.Namespace) -> None:
    """Ask every question and add each result to the replay; neither the cache nor shared calls answer."""
    headers = {"X-Backend": options.backend, "Cache-Control": "no-store"}
    fields = {} if options.concurrency is None else {"concurrency": options.concurrency}
    progress = Progress(len(replay.questions))
    try:
        for line in answers([body(logged[0]) for logged in replay.questions], headers, **fields):
            replay.add(line)
            progress.advance(len(replay.problems))
    finally:
        progress.end()
