"""A replay's report as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from app.cli.client import Json
from app.cli.table import WIDTH, table

MISSING = "-"


def text(report: Json) -> str:
    """Return the counts and the cost, the agreement by model and prompt, and a row per changed answer."""
    parts = ["\n".join(_summary(report))]
    if report["groups"]:
        parts.append(table([GROUP_HEAD, *map(_group, report["groups"])]))
        parts.append(f"{len(report['changed'])} changed" + (":" if report["changed"] else ""))
    if report["changed"]:
        parts[-1] += "\n" + table([CHANGED_HEAD, *map(_changed, report["changed"])])
    return "\n\n".join([*parts, textwrap.fill(report["method"], WIDTH)])


GROUP_HEAD = ("LOGGED BY", "PROMPT", "ANSWERS", "STOCKS", "AGREEMENT", "KAPPA", "CONVICTION", "APART")
CHANGED_HEAD = ("CREATED", "TICKER", "DETAIL", "LOGGED", "NEW", "LOGGED ID", "NEW ID")


def _summary(report: Json) -> Iterator[str]:
    models = f" ({', '.join(report['models'])})" if report["models"] else ""
    yield f"{report['answered']} of {report['questions']} questions answered again by {report['backend']}{models}"
    if report["stand_in"]:
        yield "Some answers are the rule-based analyst's instead of a model's."
    for each in report["failed"]:
        yield f"{each['count']} failed: {each['code']}: {each['detail']}"
    yield f"cost {report['usd']} USD"


def _group(group: Json) -> tuple[str, ...]:
    return (
        f"{group['backend']} ({group['model']})",
        group["prompt_version"],
        f"{group['answers']:,}",
        f"{group['tickers']:,}",
        _estimate(group["agreement"], ".1%"),
        _estimate(group["kappa"], ".2f"),
        _estimate(group["conviction_difference"], "+.2f"),
        _estimate(group["conviction_distance"], ".2f"),
    )


def _changed(answer: Json) -> tuple[str, ...]:
    sides = [answer["logged"], answer["new"]]
    return (
        f"{answer['created_at'][:10]} {answer['created_at'][11:19]}",
        answer["ticker"] or MISSING,
        answer["detail"] + (", blind" if answer["blind"] else ""),
        *(f"{side['action']} {side['conviction']}" for side in sides),
        *(side["id"] for side in sides),
    )


def _estimate(estimate: Json | None, form: str) -> str:
    if estimate is None:
        return MISSING
    if estimate["low"] is None:
        return f"{estimate['value']:{form}}"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}} to {estimate['high']:{form}})"
