"""Tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.contract.recommendation import ACTIONS
from training.markdown import table
from training.report.findings import interval, p_value, percent
from training.report.plots import span
from training.report.results import EvaluatedSystem, Results, compare_common

NONE = "-"
"""Placeholder of an inapplicable figure."""


def summary(results: Results) -> str:
    """Return the summary of all systems, models first."""
    head = ["", "agreement", "95%, by ticker", "Wilson", "kappa", "failures", "ms an answer"]
    return table(head, [_summary(one) for one in (*results.models, *results.baselines)])


def classes(model: EvaluatedSystem) -> str:
    """Return precision, recall and F1 per action."""
    found = model.scores["classes"]
    figures = ("precision", "recall", "f1")
    rows = [[a, *(_share(found[a][figure]) for figure in figures), str(found[a]["support"])] for a in ACTIONS]
    return table(["action", "precision", "recall", "F1", "pairs"], rows)


def conviction(results: Results) -> str:
    """Return conviction error and calibration per model."""
    head = ["", "mean error", "within 1", "Spearman", "quadratic kappa"]
    head += ["ECE, conviction", "ECE, probability", "Brier"]
    rows = []
    for model in results.models:
        found, stated = model.scores["conviction"], model.scores["calibration"]
        sure, likely = stated["conviction"] or {}, stated["probabilities"] or {}
        figures = (
            found["mean_absolute_error"], found["within_one"], found["spearman"], found["quadratic_kappa"],
            sure.get("ece"), likely.get("ece"), likely.get("brier"),
        )  # fmt: skip
        rows.append([model.name, *map(_number, figures)])
    return table(head, rows)


def calibration(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the fitted calibration by detail, and its effect on held-out validation pairs."""
    head = ["", "pairs", "temperature", *(f"bias {action}" for action in ACTIONS)]
    head += ["NLL before, after", "ECE before, after", "agreement written, most probable"]
    rows = []
    for detail, one in found.items():
        fitted, before, after = one["calibration"], one["before"], one["after"]
        highest = one["action"]["written"] + one["action"]["most_probable"]["value"]
        rows.append(
            [
                *(detail, f"{one['pairs']:,}", _number(fitted["temperature"])),
                *(f"{fitted['bias'][action]:+.3f}" for action in ACTIONS),
                *(f"{before[name]:.4f}, {after[name]:.4f}" for name in ("nll", "ece")),
                f"{percent(one['action']['written'])}, {percent(highest)}"
                f" (McNemar {p_value(one['action']['most_probable']['p'])})",
            ]
        )
    return table(head, rows)


def missing(results: Results) -> str:
    """Return agreement by number of missing metrics."""
    parts = [(span(part), part["agreement"]) for part in results.shipped.scores["by_missing"]]
    rows = [[name, percent(found["value"]), interval(found), str(found["n"])] for name, found in parts]
    return table(["metrics missing", "agreement", "95%, by ticker", "pairs"], rows)


def frontier(found: Mapping[str, Any], api: str) -> str:
    """Return the cascade's figures by threshold, and those of the API alone."""
    alone = found["api_alone"]
    rows = [
        [
            f"{point['threshold']:g}",
            percent(point["passed_on"]),
            _share(point["kept_agreement"]),
            percent(point["agreement"]["value"]),
            interval(point["agreement"]),
            f"{point['usd_per_1k_answers']:.4f}",
            percent(point["usd_per_1k_answers"] / alone["usd_per_1k_answers"]),
        ]
        for point in found["points"]
    ]
    last = [f"{api} alone", percent(1), NONE, percent(alone["agreement"]), NONE]
    head = ["threshold", "passed on", "agreement of the kept", "agreement", "95%, by ticker", "USD per 1,000 answers"]
    return table([*head, f"of {api} alone"], [*rows, [*last, f"{alone['usd_per_1k_answers']:.4f}", percent(1)]])


def consistency(results: Results) -> str:
    """Return the share of unchanged actions per irrelevant change."""
    rows = [
        [f"{model.name}: {name}", percent(stay["value"]), interval(stay), _share(stay["teacher"]), str(stay["n"])]
        for model in results.models
        for name, stay in model.document.get("consistency", {}).items()
    ]
    return table(["change", "same action", "95%, by ticker", "the teacher's stays", "pairs"], rows)


def matrix(results: Results) -> str:
    """Return pairwise differences of agreement in points, with McNemar's exact p."""
    everyone = (*results.models, *results.baselines)
    rows = [[one.name, *(_against(one, other) for other in everyone)] for one in everyone]
    return table(["row less column, points", *(one.name for one in everyone)], rows)


def speed(results: Results) -> str:
    """Return tokens and time per model, at the evaluation's load."""
    rows = []
    for model in results.models:
        pairs, found = len(model.rows), model.document["speed"]
        prompt, answer = found["prompt_tokens"] / pairs, found["completion_tokens"] / pairs
        figures = (f"{prompt:.0f}", f"{answer:.0f}", f"{found['seconds']:,.0f}", f"{found['tokens_per_hour']:,}")
        rows.append([model.name, *figures, str(found["concurrency"])])
    return table(["", "prompt tokens", "answer tokens", "seconds in all", "tokens an hour", "concurrency"], rows)


def learning(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return learning curves by number of training pairs, with the notes on their points."""
    by_size = {name: {point["pairs"]: point for point in points} for name, points in curves.items()}
    rows = []
    for size in sorted({size for points in by_size.values() for size in points}):
        points = [of_curve.get(size) for of_curve in by_size.values()]
        notes = "; ".join(point["note"] for point in points if point and point.get("note"))
        rows.append([f"{size:,}", *map(_point, points), notes or NONE])
    return table(["training pairs", *by_size, "note"], rows)


def _summary(one: EvaluatedSystem) -> list[str]:
    found, failures = one.scores["agreement"], sum(one.scores["failures"].values())
    ms = f"{1000 * one.document['speed']['median_seconds']:,.0f}" if one.document else NONE
    return [
        one.name,
        percent(found["value"]),
        interval(found),
        interval(one.scores["wilson"]),
        _number(one.scores["kappa"]),
        str(failures) if one.document else NONE,
        ms,
    ]


def _against(one: EvaluatedSystem, other: EvaluatedSystem) -> str:
    found = None if one is other else compare_common(one, other)
    return f"{100 * found['value']:+.1f}, {p_value(found['p'])}" if found else NONE


def _point(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return NONE
    found = point["agreement"]
    return f"{percent(found['value'])} ({interval(found)})" if "low" in found else percent(found["value"])


def _share(share: float | None) -> str:
    return NONE if share is None else percent(share)


def _number(number: float | None) -> str:
    return NONE if number is None else f"{number:.3f}"
