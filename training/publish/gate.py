"""Publication gate: every check runs, and all failures are reported together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from app.contract.manifest import Check
from app.contract.prompt import Detail
from training.config import Publish
from training.evaluation.rows import DETAILS

UNQUANTIZED = ("adapter", "merged")
"""Systems that the 4-bit weights are compared with; the first one evaluated is used."""

Report = Mapping[str, Any]
Reports = Mapping[str, Report]
"""Evaluations by name, such as "full-awq"."""
Checker = Callable[[Report], tuple[bool, str]]
"""Return whether a check holds, and its figures."""


class Refused(ValueError):
    """The run does not meet the publication criteria."""


def gate(limits: Publish, reports: Reports, teacher: str, overrides: Collection[str] = ()) -> list[Check]:
    """Return all checks; raise `Refused` with every failed one that `overrides` does not name."""
    checks = [check for detail in DETAILS for check in _checks(detail, limits, reports, teacher)]
    unknown = set(overrides) - {check.name for check in checks}
    if unknown:
        raise Refused(f"no check is called {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in checks)}")
    failed = [check for check in checks if not check.held and check.name not in overrides]
    if failed:
        lines = [f"  {check.name}: {check.found}" for check in failed]
        raise Refused("\n".join(["not published: these checks failed (--override NAME accepts one):", *lines]))
    return checks


def _checks(detail: Detail, limits: Publish, reports: Reports, teacher: str) -> Iterator[Check]:
    name = f"{detail}-awq"
    report = reports.get(name)
    findings: dict[str, Checker] = {
        "min_agreement": lambda awq: _agreement(awq, getattr(limits.min_agreement, detail), teacher),
        "above_majority": _above_majority,
        "max_failures": lambda awq: _failures(awq, limits.max_failures),
        "max_quantisation_loss": lambda awq: _loss(awq, detail, reports, limits.max_quantisation_loss),
    }
    for check, find in findings.items():
        held, found = find(report) if report else (False, f"there is no evaluation {name}")
        yield Check(name=f"{check}.{detail}", held=held, found=found)


def _agreement(awq: Report, least: float, teacher: str) -> tuple[bool, str]:
    if awq["teacher"] != teacher:
        return False, f"measured against {awq['teacher']}, but the labels are those of {teacher}"
    value = awq["agreement"]["value"]
    return value >= least, f"{value:.4f}, at least {least} wanted"


def _above_majority(awq: Report) -> tuple[bool, str]:
    """Check that the interval's low end exceeds the majority class's share."""
    low, majority = awq["agreement"]["low"], awq["majority_baseline"]
    return low > majority["value"], f"low end {low:.4f}, always saying {majority['action']} {majority['value']:.4f}"


def _failures(awq: Report, most: float) -> tuple[bool, str]:
    count, pairs = sum(awq["failures"].values()), awq["agreement"]["n"]
    kinds = ", ".join(f"{number} {kind}" for kind, number in awq["failures"].items())
    counted = f"{count} of {pairs} answers failed" + (f" ({kinds})" if kinds else "")
    return count <= most * pairs, f"{counted}, a share of at most {most} wanted"


def _loss(awq: Report, detail: Detail, reports: Reports, most: float) -> tuple[bool, str]:
    name = next((f"{detail}-{kind}" for kind in UNQUANTIZED if f"{detail}-{kind}" in reports), None)
    if name is None:
        return False, f"there is no evaluation {' or '.join(f'{detail}-{kind}' for kind in UNQUANTIZED)}"
    before = reports[name]
    if _pairs(before) != _pairs(awq):
        return False, f"{name} and {detail}-awq were evaluated on different pairs"
    lost = round(before["agreement"]["value"] - awq["agreement"]["value"], 4)
    return lost <= most, f"{100 * lost:.2f} points lost from {name}, at most {100 * most:.2f} wanted"


def _pairs(report: Report) -> tuple[object, ...]:
    """Return what identifies the evaluated pairs."""
    agreement = report["agreement"]
    return agreement["n"], agreement["tickers"], report["majority_baseline"], report["teacher"]
