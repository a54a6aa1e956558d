"""The series of a panel's queries over a time span."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from deploy.demo.dashboards import Json
from deploy.demo.prometheus import Prometheus


@dataclass(frozen=True)
class Window:
    """A time span in whole seconds since 1970, with the step between two points."""

    begin: int
    end: int
    step: int = 1

    @property
    def times(self) -> range:
        return range(self.begin, self.end + 1, self.step)


@dataclass(frozen=True)
class Series:
    """A query's series: its legend, its labels, and a value, if there is one, for each time."""

    name: str
    labels: Mapping[str, str]
    values: Sequence[float | None]

    @property
    def last(self) -> float | None:
        return next((value for value in reversed(self.values) if value is not None), None)


def read(prometheus: Prometheus, target: Json, window: Window) -> Iterator[Series]:
    """Ask one query, at the window's end or at each of its times."""
    if target["instant"]:
        found = prometheus.get("query", query=target["expr"], time=str(window.end))["result"]
        times: Sequence[int] = (window.end,)
    else:
        span = {"start": str(window.begin), "end": str(window.end), "step": str(window.step)}
        found, times = prometheus.get("query_range", query=target["expr"], **span)["result"], window.times
    for each in found:
        labels = each["metric"]
        points = {round(time): float(value) for time, value in each.get("values", [each.get("value")])}
        values = [value if math.isfinite(value := points.get(time, math.nan)) else None for time in times]
        yield Series(_legend(target["legendFormat"], labels), labels, values)


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{\s*(\w+)\s*}}", lambda label: labels.get(label[1], ""), pattern)


def stacked(below: Series, above: Series) -> Series:
    """Stack a series upon the sum of those before it."""
    pairs = zip_longest(below.values, above.values)
    return Series(above.name, above.labels, [(lower or 0.0) + (upper or 0.0) for lower, upper in pairs])
