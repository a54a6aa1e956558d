"""Groups of pairs: each pair is in one, with the labels of its values."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from app.comparison.choice import Choice
from app.comparison.pairs import Pair
from app.comparison.sectors import Sectors
from app.comparison.statistics import groups as module
from app.comparison.statistics.figures import Figures, figures
from app.comparison.statistics.groups import DIMENSIONS, LABELS, Dimension, groups
from app.comparison.statistics.report import Report, report
from app.comparison.versions import Version, Versions
from app.errors import InvalidRequest
from tests.statistics.pairs import pair, records, side

SMALL, LARGE, OTHER = Version("small", "1"), Version("large", "1"), Version("small", "2")
VERSIONS: Versions = (None, SMALL, LARGE, OTHER)
SURE = {"buy": 0.9, "sell": 0.06, "hold": 0.04}
PAIRS = [
    pair(side("buy", 9, probabilities=SURE, version=SMALL), side("buy", 3, version=LARGE), "A", "brief", blind=True),
    pair(side("sell", 5, probabilities=SURE, version=SMALL), side("buy", 8, version=LARGE), "B", "full", blind=False),
    pair(side("hold", 1, version=OTHER), side(None), None, "full", "shadow"),
]


SECTORS = {"A": "Energy", "B": "Energy", "C.A": "Utilities", "D": ""}


def of(pairs: list[Pair], *by: Dimension, sectors: Sectors | None = SECTORS) -> Report:
    return report(records(pairs, VERSIONS, timedelta(days=1)), Choice(), 0.02, VERSIONS, by, sectors)


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        ("detail", {"brief": 1, "full": 2}),
        ("origin", {"comparison": 2, "shadow": 1}),
        ("blind", {"true": 1, "false": 1, None: 1}),
        ("ticker", {"A": 1, "B": 1, None: 1}),
        ("sector", {"Energy": 2, None: 1}),
        ("day", {"2024-03-08": 1, "2024-03-09": 1, "2024-03-10": 1}),
        ("prompt_version", {"1": 2, "2": 1}),
        ("mistral_model", {"small": 3}),
        ("gpt4_model", {"large": 2, None: 1}),
        ("mistral_conviction", {"1-4": 1, "5-7": 1, "8-10": 1}),
        ("gpt4_conviction", {"1-4": 1, "8-10": 1, None: 1}),
        ("mistral_probability", {"0.9 to 0.95": 1, "below 0.5": 1, None: 1}),
        ("gpt4_probability", {None: 3}),
    ],
)
def test_each_dimension_has_its_labels(dimension: Dimension, expected: dict[str | None, int]) -> None:
    assert {group.by[dimension]: group.pairs for group in of(PAIRS, dimension).groups} == expected


def test_every_dimension_is_known() -> None:
    assert {*LABELS, "sector"} == set(DIMENSIONS)


def test_sectors_have_the_pairs_of_their_tickers_and_unknown_the_rest() -> None:
    pairs = [pair(side("buy"), side("buy"), ticker) for ticker in ("C-A", "D", "E", None, "A", "B", "A")]
    found = of(pairs, "sector").groups
    assert [(group.by["sector"], group.pairs) for group in found] == [(None, 3), ("Energy", 3), ("Utilities", 1)]


@pytest.mark.parametrize("pairs", [PAIRS, []])
def test_without_sectors_they_are_refused(pairs: list[Pair]) -> None:
    with pytest.raises(InvalidRequest, match="CONVICTION_UNIVERSE_FILE") as refusal:
        of(pairs, "detail", "sector", sectors=None)
    assert [field for field, _ in refusal.value.fields] == ["group_by"]


def test_dimensions_are_combined_and_groups_have_the_figures_of_their_pairs() -> None:
    found = of([*PAIRS, PAIRS[1]], "detail", "mistral_model")
    assert [group.by for group in found.groups] == [
        {"detail": "full", "mistral_model": "small"},
        {"detail": "brief", "mistral_model": "small"},
    ]
    full, brief = found.groups
    assert (full.pairs, full.answered_by_both, brief.pairs) == (3, 2, 1)
    assert full.agreement is not None and brief.agreement is not None
    assert (full.agreement.value, brief.agreement.value) == (0, 1)
    assert full.confusion["sell"]["buy"] == 2
    alone = figures(records([PAIRS[0]], VERSIONS))
    assert {field.name: getattr(brief, field.name) for field in fields(Figures)} == vars(alone)


def test_brief_and_full_are_separate_by_default() -> None:
    found = report(records(PAIRS, VERSIONS), Choice(), 0.02, VERSIONS)
    assert [group.by for group in found.groups] == [{"detail": "full"}, {"detail": "brief"}]
    assert report(records([]), Choice(), 0.02).groups == []


def test_versions_are_counted() -> None:
    found = of(PAIRS, "detail").versions
    assert [(each.model, each.prompt_version, each.pairs) for each in found["mistral"]] == [
        ("small", "1", 2),
        ("small", "2", 1),
    ]
    assert [(each.model, each.pairs) for each in found["gpt-4"]] == [(None, 1), ("large", 2)]


def test_too_many_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUPS", 2)
    with pytest.raises(InvalidRequest, match="group_by gives 3 groups"):
        list(groups(records(PAIRS, VERSIONS), ["ticker"], VERSIONS))
