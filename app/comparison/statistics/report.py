"""The report of selected pairs: their figures together, and in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.comparison.choice import Choice
from app.comparison.records import DETAILS, ORIGINS, Origin, Records, moment, select, sides_of
from app.comparison.sectors import Sectors
from app.comparison.statistics.agreement import Needed, needed
from app.comparison.statistics.estimate import RESAMPLES
from app.comparison.statistics.figures import Figures, figures
from app.comparison.statistics.groups import Dimension, Label, groups, version_counts
from app.comparison.versions import UNKNOWN_ONLY, Versions
from app.contract.completion import BackendName
from app.contract.prompt import Detail

BY: Sequence[Dimension] = ("detail",)
METHOD = (
    f"Intervals at 95% confidence by {RESAMPLES} resamples of whole tickers, their percentiles expanded by Student's t;"
    " none for fewer than five tickers. They hold for a number of pairs fixed in advance; agreement_anytime is a"
    " confidence sequence, which holds at every number of pairs from a fixed beginning, for the questions asked. The"
    " weighted kappa weighs buy against sell four times buy against hold. Marginal homogeneity is Bhapkar's test, by"
    " ticker. Agreement, kappa, convictions and ratios are of pairs that both answered."
    " Ratios are means of {1} over means of {0}. Costs are as answers state them: list price, or the hourly"
    " price shared at measured capacity."
)


@dataclass(frozen=True)
class VersionPairs:
    """The number of pairs that a model answered with a version of the prompt; null where it is unknown."""

    model: str | None
    prompt_version: str | None
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Group(Figures):
    """The figures of the pairs that have these values in common; null where it is unknown."""

    by: dict[Dimension, Label]


@dataclass(frozen=True, kw_only=True)
class Report(Figures):
    """Both backends on the same questions, with 95% confidence intervals."""

    first: datetime | None
    last: datetime | None
    details: dict[Detail, int]
    origins: dict[Origin, int]
    versions: Annotated[
        dict[BackendName, list[VersionPairs]], Field(description="what answered; unknown where a side failed")
    ]
    needed: Needed
    groups: Annotated[list[Group], Field(description="the same figures by `group_by`, in the order of its values")]
    method: str


def report(
    records: Records,
    choice: Choice,
    half_width: float,
    versions: Versions = UNKNOWN_ONLY,
    by: Sequence[Dimension] = BY,
    sectors: Sectors | None = None,
) -> Report:
    """Return the report of the chosen records; `half_width` is the target for `needed`.

    Raises `InvalidRequest` as `groups` does.
    """
    chosen = select(records, choice.mask(records, versions))
    parts = [Group(by=labels, **vars(figures(part))) for labels, part in groups(chosen, by, versions, sectors)]
    whole, sides = figures(chosen), sides_of(chosen.dtype)
    return Report(
        **vars(whole),
        first=moment(int(chosen["time_ms"][0])) if len(chosen) else None,
        last=moment(int(chosen["time_ms"][-1])) if len(chosen) else None,
        details={name: int((chosen["detail"] == index).sum()) for index, name in enumerate(DETAILS)},
        origins={name: int((chosen["origin"] == index).sum()) for index, name in enumerate(ORIGINS)},
        versions={name: _versions(chosen, name, versions) for name in sides},
        needed=needed(whole.agreement, whole.answered_by_both, half_width),
        groups=parts,
        method=METHOD.format(*sides),
    )


def _versions(records: Records, backend: BackendName, versions: Versions) -> list[VersionPairs]:
    return [
        VersionPairs(version.model, version.prompt_version, pairs) if version else VersionPairs(None, None, pairs)
        for version, pairs in version_counts(records, backend, versions).items()
    ]
