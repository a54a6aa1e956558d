"""Answers as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

WIDTH = 88

Json = dict[str, Any]


def recommendation(answer: Json) -> str:
    """An answer: the verdict, its reasons, and what it rests on and took."""
    return "\n".join(_lines(answer))


def _lines(answer: Json) -> Iterator[str]:
    stock = " ".join(filter(None, (answer["ticker"], answer["as_of"] and f"as of {answer['as_of']}")))
    yield f"{answer['action'].upper()}, conviction {answer['conviction']}/10" + (stock and f"   {stock}")
    if answer["probabilities"]:
        shares = "  ".join(f"{name} {share:.0%}" for name, share in answer["probabilities"].items())
        yield f"given the {answer['probabilities_given']}: {shares}"
    if answer["analysis"]:
        yield ""
        yield textwrap.fill(answer["analysis"], WIDTH)
    yield ""
    place = f" in {answer['fallback_from']}'s place" if answer["fallback_from"] else ""
    stand_in = ", a stand-in, not a model" if answer["stand_in"] else ""
    yield f"by {answer['backend']}{place} ({answer['model']}){stand_in}"
    if answer["cascade"]:
        yield _cascade(answer["cascade"])
    yield _effort(answer)
    yield from _basis(answer)
    yield textwrap.fill(answer["disclaimer"], WIDTH)


def _cascade(verdict: Json) -> str:
    said = "no probability" if verdict["probability"] is None else f"{verdict['probability']:.0%}"
    fate = "passed on" if verdict["passed_on"] else "kept"
    first = f"; asking first: {verdict['cost']['usd']} USD" if verdict["cost"] else ""
    return f"cascade: {said} against a threshold of {verdict['threshold']:.0%}, {fate}{first}"


def _effort(answer: Json) -> str:
    usage, timing, cost = answer["usage"], answer["timing"], answer["cost"]
    rate = f", {timing['ms_per_token']:.1f} ms a token" if timing["ms_per_token"] is not None else ""
    tokens = f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"
    price = f"{cost['usd']} USD ({cost['basis'].replace('_', ' ')})"
    return f"{timing['total_ms'] / 1000:.2f} s{rate}; {tokens}; {price}"


def _basis(answer: Json) -> Iterator[str]:
    source = answer["metrics_source"]
    if source:
        simulated = f"; simulated: {', '.join(source['simulated'])}" if source["simulated"] else ""
        yield f"figures from {source['provider']}{simulated}"
    if answer["missing"]:
        yield textwrap.fill(f"missing: {', '.join(answer['missing'])}", WIDTH)


def keys(listed: Iterable[Json]) -> str:
    """Issued keys as a table, the oldest first."""
    rows = [_key(key) for key in sorted(listed, key=itemgetter("created"))]
    return _table(("ID", "NAME", "BACKENDS", "A MINUTE", "A DAY", "ISSUED", "BY", "REVOKED"), rows)


def _key(key: Json) -> tuple[str, ...]:
    return (
        key["id"],
        key["name"] + (" (admin)" if key["admin"] else ""),
        ", ".join(key["backends"] or ("all",)),
        *_limits(key),
        _moment(key["created"]),
        key["created_by"],
        _moment(key["revoked"]) if key["revoked"] else "",
    )


def _limits(key: Json) -> tuple[str, str]:
    """A key's own limits, a minute and a day; a dash where it has none and the gateway's settings decide."""
    limits = ((key["requests_per_minute"], "requests"), (key["tokens_per_minute"], "tokens"))
    a_minute = ", ".join(f"{limit:,} {unit}" for limit, unit in limits if limit is not None)
    a_day = key["usd_per_day"]
    return a_minute or "-", "-" if a_day is None else f"{a_day} USD"


def _moment(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:16]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (head, *rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def problem(document: Json) -> str:
    """A problem document: what is wrong, and what to name when asking about it."""
    detail = textwrap.fill(str(document.get("detail", "")), WIDTH)
    code, request_id = document.get("code"), document.get("request_id")
    return f"conviction: {document.get('title')} ({code})\n{detail}\nrequest {request_id}"
