"""What a standing amounts to, in sentences made from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.report.standings import Contender, Standing, on_the_same

DISCLAIMER = (
    "Agreement with a teacher is not being right about returns: nothing here says what the stocks did afterwards, "
    "and nothing here is investment advice."
)


def teacher_name(model: str) -> str:
    """Who labelled, as it is to be called: rules are never called another model."""
    return "rule-based analyst" if model.startswith("rule-based-analyst") else model


def findings(standing: Standing, teacher: str, taught: frozenset[str]) -> list[str]:
    """The answer, what it lost on the way to the shipped weights, and whether it was worth training a model for.

    `taught` are the tickers of the training pairs.
    """
    return [
        _headline(standing, teacher),
        *_unseen(standing.shipped, taught),
        *_lost(standing),
        *_untuned(standing),
        *_beside_baselines(standing),
    ]


def cascade(found: Mapping[str, Any], teacher: str, api: str) -> Iterator[str]:
    """What a threshold buys, and what its figures rest on."""
    first, alone, aim = found["points"][0], found["api_alone"]["usd_per_1k_answers"], percent(found["aim"])
    least = next((point for point in found["points"] if point["threshold"] == found["least_threshold"]), None)
    if least is None:
        yield f"No threshold that was tried brings the lower end of agreement's interval to {aim}."
    else:
        before, after = percent(first["agreement"]["value"]), percent(least["agreement"]["value"])
        yield (
            f"{least['threshold']:g} is the least threshold whose interval lies above {aim}: it passes on "
            f"{percent(least['passed_on'])} of the questions, raises agreement from {before} to {after}, and costs "
            f"{percent(least['usd_per_1k_answers'] / alone)} of {api} alone. CONVICTION_CASCADE_THRESHOLD is chosen so."
        )
    yield (
        f"An answer that is passed on counts as the {teacher}'s own, and so as agreeing: that says what the cascade "
        "does where the second backend is the teacher, and nothing of where it is another. Its calls are priced as "
        f"{api}'s, in the tokens of the model examined."
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def interval(found: Mapping[str, Any]) -> str:
    """Both ends, in percent."""
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _headline(standing: Standing, teacher: str) -> str:
    shipped = standing.shipped
    found, failures = shipped.scores["agreement"], shipped.scores["failures"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in failures.items())
    return (
        f"In {standing.detail}, the action of the {shipped.name} is the {teacher}'s on {percent(found['value'])} of "
        f"{found['n']:,} pairs of {found['tickers']:,} tickers (95% interval by ticker {interval(found)}); "
        f"{f'{sum(failures.values())} answers failed ({reasons}) and count as wrong' if failures else 'none failed'}."
    )


def _unseen(shipped: Contender, taught: frozenset[str]) -> Iterator[str]:
    seen = {row.ticker for row in shipped.rows} & taught
    if seen:
        yield f"{len(seen)} of the tickers asked about stand in the training pairs too: these figures flatter."
    else:
        yield "None of these tickers stands in the training pairs."


def _lost(standing: Standing) -> Iterator[str]:
    """Agreement lost from each earlier form of the weights to the shipped one."""
    for kind in ("adapter", "merged"):
        before = standing.of(kind)
        if before is None or before is standing.shipped:
            continue
        found = on_the_same(standing.shipped, before)
        if found:
            yield (
                f"From the {before.name} to the {standing.shipped.name} agreement changes by {_points(found)} "
                f"on the same {found['n']:,} pairs (McNemar {p_value(found['p'])})."
            )


def _untuned(standing: Standing) -> Iterator[str]:
    base = standing.of("base")
    if base is not None and base is not standing.shipped:
        yield f"The untuned base agrees on {percent(base.value)}."


def _beside_baselines(standing: Standing) -> Iterator[str]:
    """Whether a baseline does as well: said where the data cannot tell the two apart, or where it is better."""
    as_well = []
    for baseline in standing.baselines:
        found = on_the_same(standing.shipped, baseline)
        if found is None or found["low"] > 0:
            continue
        as_far = f"as well as the model, as far as {found['n']:,} pairs can tell"
        verdict = "better than the model" if found["high"] < 0 else as_far
        as_well.append(baseline.name)
        yield (
            f"{_capital(baseline.name)}, learnt from the same pairs without a language model, does {verdict}: "
            f"{percent(baseline.value)} against {percent(standing.shipped.value)} "
            f"(the model less the baseline {_points(found)}, McNemar {p_value(found['p'])})."
        )
    worse = [one for one in standing.baselines if one.name not in as_well]
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
