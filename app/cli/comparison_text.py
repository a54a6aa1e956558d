"""Comparisons and their report as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from app.cli.recommendation_text import WIDTH, recommendation

Json = dict[str, Any]
QUANTILES = ("p50", "p95", "p99")
NOTHING = "-"


def comparison(answer: Json) -> str:
    """Both sides, one below the other."""
    return "\n\n".join([*(_side(name, side) for name, side in answer["sides"].items()), _verdict(answer)])


def _side(name: str, side: Json) -> str:
    if side["problem"] is not None:
        return f"{name}: {side['problem']['title']} ({side['problem']['code']})\n{side['problem']['detail']}"
    made_up = ", ".join(side["invented"] or ())
    return recommendation(side["answer"]) + (f"\nfigures that the metrics do not contain: {made_up}" if made_up else "")


def _verdict(answer: Json) -> str:
    said = {True: "They agree.", False: "They do not agree.", None: "There is nothing to compare."}[answer["agree"]]
    return said if answer["stored"] else f"{said} The store was away: the pair is not kept."


def report(document: Json) -> str:
    """A report: how often they agree, who said what, and what it took."""
    return "\n\n".join(
        (
            "\n".join(_summary(document)),
            _confusion(document),
            _sides(document),
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
        yield "Some answers are the rule-based analyst's, in a model's place."
    first, _ = document["backends"]
    yield f"agreement {_estimate(document['agreement'], _percent)}"
    yield f"Cohen's kappa {_estimate(document['kappa'], _short)}"
    yield (
        f"conviction: {first} {_estimate(document['conviction_difference'], _signed)}, "
        f"{_estimate(document['conviction_distance'], _short)} apart"
    )
    yield _needed(document["needed"])


def _needed(needed: Json) -> str:
    now = NOTHING if needed["half_width_now"] is None else f"±{_percent(needed['half_width_now'])}"
    assumed = ", should they agree in a half of all" if needed["basis"] == "assumed" else ""
    return f"known to {now}; {needed['pairs_still']:,} more pairs for ±{_percent(needed['half_width'])}{assumed}"


def _confusion(document: Json) -> str:
    first, second = document["backends"]
    counts = document["confusion"]
    rows = [(row, *(f"{count:,}" for count in line.values())) for row, line in counts.items()]
    return _table([(f"{first} down, {second} across", *counts), *rows])


def _sides(document: Json) -> str:
    names, sides, ratios = list(document["backends"]), list(document["backends"].values()), document["ratios"]

    def row(title: str, told: Callable[[Json], str], ratio: str = "") -> tuple[str, ...]:
        return (title, *(told(side) for side in sides), _estimate(ratios[ratio], _short) if ratio else "")

    spreads = (
        ("latency, ms", "latency_ms", "latency"),
        ("first token, ms", "ttft_ms", "ttft"),
        ("ms a token", "ms_per_token", "ms_per_token"),
        ("tokens a second", "tokens_per_second", ""),
    )
    return _table(
        [
            ("", *names, f"{names[1]} / {names[0]}"),
            row("answered", lambda side: f"{side['answered']:,}"),
            row("failed", lambda side: ", ".join(f"{count} {code}" for code, count in side["failed"].items()) or "0"),
            *(
                row(f"{title}, {'/'.join(QUANTILES)}", lambda side, field=field: _spread(side[field]), ratio)  # type: ignore[misc]
                for title, field, ratio in spreads
            ),
            row(
                "USD a recommendation", lambda side: side["usd_per_recommendation"] or NOTHING, "usd_per_recommendation"
            ),
            row("USD per 1,000 tokens", lambda side: side["usd_per_1k_tokens"] or NOTHING, "usd_per_1k_tokens"),
            row("figures made up", lambda side: "{invented:,} of {figures:,}".format(**side["invention"])),
        ]
    )


def _spread(spread: Json | None) -> str:
    return NOTHING if spread is None else "/".join(_short(spread[name]) for name in QUANTILES)


def _estimate(estimate: Json | None, write: Callable[[float], str]) -> str:
    if estimate is None:
        return NOTHING
    if estimate["low"] is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} ({write(estimate['low'])} to {write(estimate['high'])})"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _signed(number: float) -> str:
    return f"{number:+.2f}"


def _short(number: float) -> str:
    """Three significant digits or so, no exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}" if abs(number) >= 0.001 else f"{number:.6f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Iterable[str]) -> str:
        head, *rest = zip(cells, widths, strict=True)
        return "  ".join((head[0].ljust(head[1]), *(cell.rjust(width) for cell, width in rest))).rstrip()

    return "\n".join(map(line, rows))
