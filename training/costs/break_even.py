"""The call rate above which a hosted model is cheaper than an API, as a table and a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from app.pricing.prices import plain
from training.costs import case_study as study
from training.costs.recorded import Recorded, Served
from training.markdown import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 400
SIGNIFICANT = 4


@dataclass(frozen=True)
class Case:
    """A kind of call with its hosting price and its API prices, in USD.

    `capacity` is calls per hour of one machine, or None if unknown.
    """

    title: str
    usd_per_hour: Decimal
    capacity: Decimal | None
    apis: dict[str, Decimal]


def cases(runs: Sequence[Recorded]) -> list[Case]:
    """Return the case study's call and every recorded one."""
    published = Case(
        f"The case study's call: {study.TOKENS_PER_CALL:,} tokens",
        study.USD_PER_HOUR,
        None,
        {"GPT-4 as published": study.GPT4.usd_per_call},
    )
    return [published, *(_case(served) for run in runs for served in run.served)]


def _case(served: Served) -> Case:
    host = served.hosting
    as_published = study.GPT4_USD_PER_1K * host.tokens_per_call / 1000
    apis = {"GPT-4 as published": as_published, f"{served.api_model}, list price": served.api_usd_per_call}
    assert host.usd_per_hour is not None
    return Case(f"{host.model}: {host.tokens_per_call:.0f} tokens", host.usd_per_hour, host.calls_per_hour, apis)


def break_even(case: Case, usd_per_call: Decimal) -> Decimal | None:
    """Return the calls per hour above which one machine is cheaper; None if a full one is dearer."""
    calls = case.usd_per_hour / usd_per_call
    return None if case.capacity is not None and calls >= case.capacity else calls


def hosting(case: Case, calls_per_hour: Decimal) -> Decimal:
    """Return USD per hour of the machines needed."""
    return case.usd_per_hour * (machines(calls_per_hour, case.capacity) if case.capacity else 1)


def machines(calls_per_hour: Decimal, capacity: Decimal) -> Decimal:
    """Return the number of machines needed, at least one, at `capacity` calls per hour each."""
    return max((calls_per_hour / capacity).to_integral_value(ROUND_CEILING), Decimal(1))


def break_even_table(found: Sequence[Case]) -> str:
    """Return the Markdown table."""
    head = [
        "call",
        "hosted, $/hour",
        "at most, calls/hour",
        "API",
        "$/call there",
        "hosted is cheaper from, calls/hour",
    ]
    rows = []
    for case in found:
        capacity = "not stated" if case.capacity is None else f"{case.capacity:,.0f}"
        for name, usd in case.apis.items():
            calls = break_even(case, usd)
            cheaper_from = "never: a full machine costs more" if calls is None else f"{calls:,.1f}"
            rows.append([case.title, plain(case.usd_per_hour), capacity, name, short(usd), cheaper_from])
    return table(head, rows)


def short(usd: Decimal) -> str:
    """Format with four significant digits, without exponent."""
    return plain(Decimal(f"{usd:.{SIGNIFICANT}g}")) if usd else "0"


def chart(found: Sequence[Case], path: Path) -> None:
    """Write a PNG with a log-log panel per kind of call: USD per hour against calls per hour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(found), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, case in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        _panel(axes, case)
    temporary = path.with_suffix(".part")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)


def _panel(axes: Axes, case: Case) -> None:
    calls = [Decimal(10) ** (Decimal(5 * i) / (POINTS - 1)) for i in range(POINTS)]
    label = "hosted" if case.capacity is None else f"hosted, {case.capacity:,.0f} calls a machine"
    axes.plot(_floats(calls), _floats(hosting(case, n) for n in calls), label=label, color="black")
    for colour, (name, usd) in zip(("tab:red", "tab:blue"), case.apis.items(), strict=False):
        axes.plot(_floats(calls), _floats(n * usd for n in calls), label=name, color=colour)
        if (even := break_even(case, usd)) is not None:
            axes.plot(float(even), float(case.usd_per_hour), "o", color=colour)
            axes.annotate(f"{even:,.0f}", (float(even), float(case.usd_per_hour)), (4, -14), textcoords="offset points")
    axes.set(xscale="log", yscale="log", xlabel="calls an hour", ylabel="USD an hour", title=case.title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _floats(amounts: Iterable[Decimal]) -> list[float]:
    return [float(amount) for amount in amounts]
