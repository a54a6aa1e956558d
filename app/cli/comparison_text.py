"""Comparisons and their report as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.cli.colour import Line
from app.cli.recommendation_text import recommendation
from app.cli.table import WIDTH, table

Json = dict[str, Any]
QUANTILES = ("p50", "p95", "p99")
MISSING = "-"


def comparison(answer: Json) -> Iterator[Line]:
    """Yield both sides, one below the other, and whether they agree."""
    for name, side in answer["sides"].items():
        yield from _side(name, side)
        yield Line("")
    yield Line(_verdict(answer))


def _side(name: str, side: Json) -> Iterator[Line]:
    if side["problem"] is not None:
        yield Line(f"{name}: {side['problem']['title']} ({side['problem']['code']})", "error")
        yield Line(side["problem"]["detail"])
        return
    yield from recommendation(side["answer"])
    if side["invented"]:
        yield Line(f"figures that the metrics do not contain: {', '.join(side['invented'])}")


def _verdict(answer: Json) -> str:
    verdict = {True: "They agree.", False: "They do not agree.", None: "There is nothing to compare."}[answer["agree"]]
    return verdict if answer["stored"] else f"{verdict} The store is unavailable: the pair was not stored."


def report(document: Json) -> str:
    """Return a report: agreement, confusion matrix, latency and cost."""
    return "\n\n".join(
        (
            "\n".join(_summary(document)),
            _confusion(document),
            _sides(document),
            *([_groups(document["groups"])] if document["groups"] else []),
            textwrap.fill(document["method"], WIDTH),
        )
    )


def _summary(document: Json) -> Iterator[str]:
    span = " to ".join(f"{document[end][:10]} {document[end][11:16]}" for end in ("first", "last") if document[end])
    pairs, both, tickers = (f"{document[name]:,}" for name in ("pairs", "answered_by_both", "tickers"))
    yield f"{pairs} pairs, {both} answered by both, {tickers} tickers"
    if span:
        yield span + " UTC"
    if document["stand_in"]:
        yield "Some answers are the rule-based analyst's instead of a model's."
    first, _ = document["backends"]
    yield f"agreement {_estimate(document['agreement'], _percent)}"
    yield f"valid at any time {_estimate(document['agreement_anytime'], _percent)}"
    kappa, weighted = (_estimate(document[name], _short) for name in ("kappa", "weighted_kappa"))
    yield f"Cohen's kappa {kappa}, weighted {weighted}"
    if (test := document["marginal_homogeneity"]) is not None:
        yield f"equally frequent actions: p = {test['p_value']:.2g} (Bhapkar's test)"
    yield (
        f"conviction: {first} {_estimate(document['conviction_difference'], _signed)}, "
        f"{_estimate(document['conviction_distance'], _short)} apart"
    )
    yield _precision(document["needed"])


def _precision(needed: Json) -> str:
    now = MISSING if needed["half_width_now"] is None else f"±{_percent(needed['half_width_now'])}"
    assumed = ", assuming an agreement of one half" if needed["basis"] == "assumed" else ""
    return f"known to {now}; {needed['pairs_still']:,} more pairs for ±{_percent(needed['half_width'])}{assumed}"


def _confusion(document: Json) -> str:
    first, second = document["backends"]
    counts, shares = document["confusion"], document["confusion_shares"]
    rows = [
        (row, *(_cell(count, shares[row][column]) for column, count in line.items())) for row, line in counts.items()
    ]
    return table([(f"{first} down, {second} across", *counts), *rows], numbers=True)


def _cell(count: int, share: float | None) -> str:
    return f"{count:,}" if share is None else f"{count:,} ({share:.0%})"


def _sides(document: Json) -> str:
    names, sides, ratios = list(document["backends"]), list(document["backends"].values()), document["ratios"]

    def row(title: str, cell: Callable[[Json], str], ratio: str = "") -> tuple[str, ...]:
        return (title, *(cell(side) for side in sides), _estimate(ratios[ratio], _short) if ratio else "")

    spreads = (
        ("latency, ms", "latency_ms", "latency"),
        ("first token, ms", "ttft_ms", "ttft"),
        ("ms a token", "ms_per_token", "ms_per_token"),
        ("tokens a second", "tokens_per_second", ""),
    )
    return table(
        [
            ("", *names, f"{names[1]} / {names[0]}"),
            row("answered", lambda side: f"{side['answered']:,}"),
            row("failed", lambda side: ", ".join(f"{count} {code}" for code, count in side["failed"].items()) or "0"),
            *(
                row(f"{title}, {'/'.join(QUANTILES)}", lambda side, field=field: _spread(side[field]), ratio)  # type: ignore[misc]
                for title, field, ratio in spreads
            ),
            row(
                "USD a recommendation", lambda side: side["usd_per_recommendation"] or MISSING, "usd_per_recommendation"
            ),
            row("USD per 1,000 tokens", lambda side: side["usd_per_1k_tokens"] or MISSING, "usd_per_1k_tokens"),
            row("unsupported figures", lambda side: "{invented:,} of {figures:,}".format(**side["invention"])),
        ],
        numbers=True,
    )


def _groups(groups: Sequence[Json]) -> str:
    """Return a row per group, with the agreement's interval that is valid at any time."""
    head = (*groups[0]["by"], "pairs", "agreement, at any time", "kappa", "weighted")
    rows = [
        (
            *(value or "unknown" for value in group["by"].values()),
            f"{group['pairs']:,}",
            _estimate(group["agreement_anytime"], _percent),
            *(_value(group[name]) for name in ("kappa", "weighted_kappa")),
        )
        for group in groups
    ]
    return table([head, *rows])


def _value(estimate: Json | None) -> str:
    return MISSING if estimate is None else _short(estimate["value"])


def _spread(spread: Json | None) -> str:
    return MISSING if spread is None else "/".join(_short(spread[name]) for name in QUANTILES)


def _estimate(estimate: Json | None, write: Callable[[float], str]) -> str:
    if estimate is None:
        return MISSING
    if estimate["low"] is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} ({write(estimate['low'])} to {write(estimate['high'])})"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _signed(number: float) -> str:
    return f"{number:+.2f}"


def _short(number: float) -> str:
    """Return about three significant digits without an exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}" if abs(number) >= 0.001 else f"{number:.6f}"
