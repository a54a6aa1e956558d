"""Publication gate: every check runs, and all failures are reported together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from app.contract.manifest import Check
from app.contract.prompt import Detail
from training.config.publish import Publish
from training.evaluation.paired import compare_rows
from training.evaluation.rows import DETAILS, Row

UNQUANTIZED = ("adapter", "merged")
"""Systems that the 4-bit weights are compared with; the first one evaluated is used."""

Report = Mapping[str, Any]
Reports = Mapping[str, Report]
"""Evaluations by name, such as "full-awq"."""
Answers = Mapping[str, Sequence[Row]]
"""The rows of the evaluations by name."""
Checker = Callable[[Report], tuple[bool, str]]
"""Return whether a check holds, and its figures."""


class Refused(ValueError):
    """The run does not meet the publication criteria."""


def gate(
    limits: Publish, reports: Reports, answers: Answers, teacher: str, overrides: Collection[str] = ()
) -> list[Check]:
    """Return all checks; raise `Refused` with every failed one that `overrides` does not name."""
    checks = [check for detail in DETAILS for check in _checks(detail, limits, reports, answers, teacher)]
    unknown = set(overrides) - {check.name for check in checks}
    if unknown:
        raise Refused(f"no check is called {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in checks)}")
    failed = [check for check in checks if not check.held and check.name not in overrides]
    if failed:
        lines = [f"  {check.name}: {check.found}" for check in failed]
        raise Refused("\n".join(["not published: these checks failed (--override NAME accepts one):", *lines]))
    return checks


def _checks(detail: Detail, limits: Publish, reports: Reports, answers: Answers, teacher: str) -> Iterator[Check]:
    name = f"{detail}-awq"
    report = reports.get(name)
    findings: dict[str, Checker] = {
        "min_pairs": lambda awq: _pairs(awq, getattr(limits.min_pairs, detail)),
        "min_agreement": lambda awq: _agreement(awq, getattr(limits.min_agreement, detail), teacher),
        "above_majority": _above_majority,
        "max_failures": lambda awq: _failures(awq, limits.max_failures),
        "max_ece": lambda awq: _calibration(awq, limits.max_ece),
        "min_conviction_within_one": lambda awq: _conviction(awq, limits.min_conviction_within_one),
        "max_quantisation_loss": lambda awq: _loss(awq, detail, reports, answers, limits.max_quantisation_loss),
    }
    for check, find in findings.items():
        held, found = find(report) if report else (False, f"there is no evaluation {name}")
        yield Check(name=f"{check}.{detail}", held=held, found=found)


def _pairs(awq: Report, least: int) -> tuple[bool, str]:
    pairs, tickers = awq["agreement"]["n"], awq["agreement"]["tickers"]
    return pairs >= least, f"{pairs} pairs of {tickers} tickers, at least {least} pairs wanted"


def _agreement(awq: Report, least: float, teacher: str) -> tuple[bool, str]:
    if awq["teacher"] != teacher:
        return False, f"measured against {awq['teacher']}, but the labels are those of {teacher}"
    found = awq["agreement"]
    interval = f"95% by ticker {found['low']:.4f} to {found['high']:.4f}"
    return found["value"] >= least, f"{found['value']:.4f} ({interval}), at least {least} wanted"


def _above_majority(awq: Report) -> tuple[bool, str]:
    """Check that the interval's low end exceeds the majority class's share."""
    low, majority = awq["agreement"]["low"], awq["majority_baseline"]
    return low > majority["value"], f"low end {low:.4f}, always saying {majority['action']} {majority['value']:.4f}"


def _failures(awq: Report, most: float) -> tuple[bool, str]:
    count, pairs = sum(awq["failures"].values()), awq["agreement"]["n"]
    kinds = ", ".join(f"{number} {kind}" for kind, number in awq["failures"].items())
    counted = f"{count} of {pairs} answers failed" + (f" ({kinds})" if kinds else "")
    return count <= most * pairs, f"{counted}, a share of at most {most} wanted"


def _calibration(awq: Report, most: float) -> tuple[bool, str]:
    stated = awq["calibration"]["probabilities"]
    if stated is None:
        return False, "no answer has probabilities"
    how = "calibrated" if awq.get("calibrated") else "not calibrated"
    return stated["ece"] <= most, f"{stated['ece']:.4f} over {stated['n']} answers, {how}, at most {most} wanted"


def _conviction(awq: Report, least: float) -> tuple[bool, str]:
    found = awq["conviction"]
    if found.get("within_one") is None:
        return False, "no share of answers within 1 of the teacher's conviction is known"
    ranks = " and ".join(
        f"{text} {'undefined' if found[name] is None else format(found[name], '.3f')}"
        for name, text in (("spearman", "Spearman"), ("quadratic_kappa", "quadratic kappa"))
    )
    error = f"mean error {found['mean_absolute_error']:.3f}, {ranks}"
    return found["within_one"] >= least, f"{found['within_one']:.4f} ({error}), at least {least} wanted"


def _loss(awq: Report, detail: Detail, reports: Reports, answers: Answers, most: float) -> tuple[bool, str]:
    """Compare with the unquantized weights on the same pairs, question by question."""
    name = next((f"{detail}-{kind}" for kind in UNQUANTIZED if f"{detail}-{kind}" in reports), None)
    if name is None:
        return False, f"there is no evaluation {' or '.join(f'{detail}-{kind}' for kind in UNQUANTIZED)}"
    before, after = answers.get(name, ()), answers.get(f"{detail}-awq", ())
    found = compare_rows(before, after)
    if reports[name]["teacher"] != awq["teacher"] or found is None or not found["n"] == len(before) == len(after):
        return False, f"{name} and {detail}-awq were evaluated on different pairs"
    lost = f"{100 * found['value']:.2f} points lost from {name} ({100 * found['low']:.2f} to {100 * found['high']:.2f}"
    only = f"right alone {found['only_first']} and {found['only_second']}, McNemar p = {found['p']:.3f}"
    return found["value"] <= most, f"{lost}; {only}), at most {100 * most:.2f} wanted"
