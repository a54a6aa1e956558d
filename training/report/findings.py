"""Sentences that summarize evaluation results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.evaluation.consistency import BLIND, SWAPPED
from training.report.results import EvaluatedSystem, Results, compare_common

DISCLAIMER = (
    "Agreement with a teacher is not accuracy about returns: this report does not measure what the stocks did "
    "afterwards, and it is not investment advice."
)


def teacher_name(model: str) -> str:
    """Return the teacher's name for the report."""
    return "rule-based analyst" if model.startswith("rule-based-analyst") else model


def findings(results: Results, teacher: str, training_tickers: frozenset[str]) -> list[str]:
    """Return the findings: agreement, losses from quantization, and comparison with the baselines.

    `training_tickers` are the tickers of the training pairs.
    """
    return [
        _headline(results, teacher),
        *_ticker_overlap(results.shipped, training_tickers),
        *_lost(results),
        *_name_effect(results.shipped),
        *_untuned(results),
        *_beside_baselines(results),
    ]


def cascade(found: Mapping[str, Any], teacher: str, api: str) -> Iterator[str]:
    """Yield the effect of the recommended threshold, and the assumptions behind the figures."""
    first, alone, aim = found["points"][0], found["api_alone"]["usd_per_1k_answers"], percent(found["aim"])
    least = next((point for point in found["points"] if point["threshold"] == found["least_threshold"]), None)
    if least is None:
        yield f"On {found['chosen_on']}, no threshold brings the lower end of agreement's interval to {aim}."
    else:
        before, after = percent(first["agreement"]["value"]), percent(least["agreement"]["value"])
        yield (
            f"On {found['chosen_on']}, {least['threshold']:g} is the least threshold whose interval of agreement "
            f"lies above {aim}. On the pairs of this table it passes on "
            f"{percent(least['passed_on'])} of the questions, raises agreement from {before} to {after}, and costs "
            f"{percent(least['usd_per_1k_answers'] / alone)} of {api} alone. "
            "CONVICTION_CASCADE_THRESHOLD is set this way."
        )
    yield (
        f"An answer that is passed on counts as the {teacher}'s own, and so as agreeing: the figures hold "
        "only if the second backend is the teacher. Its calls are priced as "
        f"{api}'s, in the tokens of the model evaluated."
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def interval(found: Mapping[str, Any]) -> str:
    """Format an interval in percent."""
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _headline(results: Results, teacher: str) -> str:
    shipped = results.shipped
    found, failures = shipped.scores["agreement"], shipped.scores["failures"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in failures.items())
    return (
        f"In {results.detail}, the action of the {shipped.name} is the {teacher}'s on {percent(found['value'])} of "
        f"{found['n']:,} pairs of {found['tickers']:,} tickers (95% interval by ticker {interval(found)}); "
        f"{f'{sum(failures.values())} answers failed ({reasons}) and count as wrong' if failures else 'none failed'}."
    )


def _ticker_overlap(shipped: EvaluatedSystem, training_tickers: frozenset[str]) -> Iterator[str]:
    overlap = {row.ticker for row in shipped.rows} & training_tickers
    if overlap:
        yield f"{len(overlap)} of the evaluated tickers are in the training pairs too, so these figures are optimistic."
    else:
        yield "None of these tickers is in the training pairs."


def _lost(results: Results) -> Iterator[str]:
    """Yield the change of agreement from each earlier form of the weights to the shipped one."""
    for kind in ("adapter", "merged"):
        before = results.of(kind)
        if before is None or before is results.shipped:
            continue
        found = compare_common(results.shipped, before)
        if found:
            yield (
                f"From the {before.name} to the {results.shipped.name} agreement changes by {_points(found)} "
                f"on the same {found['n']:,} pairs (McNemar {p_value(found['p'])})."
            )


def _name_effect(shipped: EvaluatedSystem) -> Iterator[str]:
    """Yield the share of actions that change with the name of the stock."""
    found = shipped.document.get("consistency", {})
    shares = {name: percent(1 - found[name]["value"]) for name in (SWAPPED, BLIND) if name in found}
    if SWAPPED in shares and BLIND in shares:
        yield (
            f"Of {found[BLIND]['n']:,} actions, {shares[SWAPPED]} change under another ticker and {shares[BLIND]} "
            "without a ticker; the metrics are the same."
        )


def _untuned(results: Results) -> Iterator[str]:
    base = results.of("base")
    if base is not None and base is not results.shipped:
        yield f"The untuned base agrees on {percent(base.value)}."


def _beside_baselines(results: Results) -> Iterator[str]:
    """Yield every baseline that is better than, or not distinguishable from, the model."""
    as_well = []
    for baseline in results.baselines:
        found = compare_common(results.shipped, baseline)
        if found is None or found["low"] > 0:
            continue
        as_far = f"as well as the model, within the precision of {found['n']:,} pairs"
        verdict = "better than the model" if found["high"] < 0 else as_far
        as_well.append(baseline.name)
        yield (
            f"{_capital(baseline.name)}, trained on the same pairs without a language model, does {verdict}: "
            f"{percent(baseline.value)} against {percent(results.shipped.value)} "
            f"(the model less the baseline {_points(found)}, McNemar {p_value(found['p'])})."
        )
    worse = [one for one in results.baselines if one.name not in as_well]
    if worse:
        names, best = _listed([one.name for one in worse]), percent(worse[0].value)
        yield f"The model does better than {names}; the best of these has {best}."


def _points(found: Mapping[str, Any]) -> str:
    low, high = 100 * found["low"], 100 * found["high"]
    return f"{100 * found['value']:+.1f} points ({low:+.1f} to {high:+.1f})"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
