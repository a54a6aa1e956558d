"""Recommendations and problem documents as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from app.cli.colour import Line
from app.cli.table import WIDTH

Json = dict[str, Any]

SOURCES = {"cache": "from the cache", "coalesced": "shared with another request"}
"""How an answer is marked for which no call was made."""


def recommendation(answer: Json, *, streamed: bool = False) -> Iterator[Line]:
    """Yield the verdict, its reasons, its sources and its cost; after a stream, not what the stream printed."""
    hidden = "(not in the prompt)" if answer["blind"] and answer["ticker"] else ""
    stock = " ".join(filter(None, (answer["ticker"], hidden, answer["as_of"] and f"as of {answer['as_of']}")))
    if not streamed:
        yield Line(f"{verdict(answer).text}{stock and f'   {stock}'}", answer["action"])
    elif stock:
        yield Line(stock)
    yield from map(Line, _reasons(answer, analysis=not streamed))
    yield from map(Line, _origin(answer))
    yield Line(textwrap.fill(answer["disclaimer"], WIDTH), "faint")


def verdict(answer: Json) -> Line:
    """Return action and conviction, as in `BUY, conviction 7/10`, in the action's colour."""
    return Line(f"{answer['action'].upper()}, conviction {answer['conviction']}/10", answer["action"])


def _reasons(answer: Json, *, analysis: bool) -> Iterator[str]:
    if answer["probabilities"]:
        shares = "  ".join(f"{name} {share:.0%}" for name, share in answer["probabilities"].items())
        calibrated = "calibrated, " if answer["probabilities_calibrated"] else ""
        yield f"{calibrated}given the {answer['probabilities_given']}: {shares}"
    if answer["analysis"] and analysis:
        yield ""
        yield textwrap.fill(answer["analysis"], WIDTH)
    yield ""


def _origin(answer: Json) -> Iterator[str]:
    instead = f" in {answer['fallback_from']}'s place" if answer["fallback_from"] else ""
    stand_in = ", a stand-in, not a model" if answer["stand_in"] else ""
    repeated = f", {SOURCES[answer['source']]}" if answer["source"] in SOURCES else ""
    yield f"by {answer['backend']}{instead} ({answer['model']}){stand_in}{repeated}"
    if answer["cascade"]:
        yield _cascade(answer["cascade"])
    yield _latency_and_cost(answer)
    source = answer["metrics_source"]
    if source:
        simulated = f"; simulated: {', '.join(source['simulated'])}" if source["simulated"] else ""
        sessions = source["as_of_age_sessions"]
        old = f"; the close is {sessions:,} sessions old" if source["stale"] and sessions else ""
        yield f"figures from {source['provider']}{simulated}{old}"
    if answer["missing"]:
        yield textwrap.fill(f"missing: {', '.join(answer['missing'])}", WIDTH)


def _cascade(cascade: Json) -> str:
    probability = "no probability" if cascade["probability"] is None else f"{cascade['probability']:.0%}"
    decision = "passed on" if cascade["passed_on"] else "kept"
    cost = f"; asking first: {cascade['cost']['usd']} USD" if cascade["cost"] else ""
    return f"cascade: {probability} against a threshold of {cascade['threshold']:.0%}, {decision}{cost}"


def _latency_and_cost(answer: Json) -> str:
    usage, timing, cost = answer["usage"], answer["timing"], answer["cost"]
    rate = f", {timing['ms_per_token']:.1f} ms a token" if timing["ms_per_token"] is not None else ""
    tokens = f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"
    price = f"{cost['usd']} USD ({cost['basis'].replace('_', ' ')})"
    return f"{timing['total_ms'] / 1000:.2f} s{rate}; {tokens}; {price}"


def problem(document: Json) -> str:
    """Return a problem document's title, detail and, if it states one, request id."""
    detail = textwrap.fill(str(document.get("detail", "")), WIDTH)
    request = f"\nrequest {document['request_id']}" if document.get("request_id") else ""
    return f"{document.get('title')} ({document.get('code')})\n{detail}{request}"
