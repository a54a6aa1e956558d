"""Answers as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
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
    yield f"by {answer['backend']} ({answer['model']})" + (", a stand-in, not a model" if answer["stand_in"] else "")
    yield _effort(answer)
    yield from _basis(answer)
    yield textwrap.fill(answer["disclaimer"], WIDTH)


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


def problem(document: Json) -> str:
    """A problem document: what is wrong, and what to name when asking about it."""
    detail = textwrap.fill(str(document.get("detail", "")), WIDTH)
    code, request_id = document.get("code"), document.get("request_id")
    return f"conviction: {document.get('title')} ({code})\n{detail}\nrequest {request_id}"
