"""What the panels of a dashboard show: their texts, colours and points, from their JSON and from Prometheus."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from deploy.demo.dashboards import Json
from deploy.demo.prometheus import Prometheus
from deploy.demo.series import Series, Window, read, stacked
from deploy.demo.units import UnknownPart, linear_axis, logarithmic_axis, text

V = TypeVar("V")

COLUMN_PX, ROW_PX, GAP_PX = 50, 32, 8
COLOURS = {"text": "#24292e", "green": "#3f8f2d", "orange": "#e0701a", "red": "#d6293f", "blue": "#3274d9"}
PALETTE = ("#56a64b", "#e0b400", "#5794f2", "#fa6400", "#d6293f", "#3274d9", "#a352cc", "#37872d", "#7c2ea3", "#8a6d00")
NO_DATA = "No data"


def view(panel: Json, prometheus: Prometheus, window: Window) -> Json:
    """Return what a panel shows. Raises `UnknownPart`."""
    kind = panel["type"]
    shown = {"type": kind, "title": panel["title"], "box": box(panel["gridPos"])}
    if kind == "row":
        return shown
    show = _known("panel type", kind, SHOWN)
    for each in panel.get("transformations", ()):
        _known("transformation", each["id"], {"groupingToMatrix": None} if kind == "table" else {})
    series = [each for target in panel["targets"] for each in read(prometheus, target, window)]
    text(0, _defaults(panel)["unit"])
    if all(each.last is None for each in series):
        return shown | {"empty": _defaults(panel).get("noValue", NO_DATA)}
    return shown | show(panel, series, window)


def box(place: Mapping[str, int]) -> dict[str, int]:
    """Return a panel's place in pixels, from its place in Grafana's grid of 24 columns."""
    return {
        "left": place["x"] * COLUMN_PX,
        "top": place["y"] * ROW_PX,
        "width": place["w"] * COLUMN_PX - GAP_PX,
        "height": place["h"] * ROW_PX - GAP_PX,
    }


def _stat(panel: Json, series: Sequence[Series], _: Window) -> Json:
    _known("calculation", tuple(panel["options"]["reduceOptions"]["calcs"]), {("lastNotNull",): None})
    _known("orientation", panel["options"]["orientation"], {"vertical": None})
    sparks = _known("graph mode", panel["options"]["graphMode"], {"area": True, "none": False})
    return {
        "items": [_figure(panel, each.name, each.last) | {"spark": each.values if sparks else []} for each in series]
    }


def _bargauge(panel: Json, series: Sequence[Series], _: Window) -> Json:
    """Bars of a histogram's buckets, each without those below it."""
    _known("format of a bar gauge's query", panel["targets"][0].get("format"), {"heatmap": None})
    _known("orientation", panel["options"]["orientation"], {"horizontal": None})
    ordered = sorted(series, key=lambda each: float(each.labels["le"]))
    upto = [each.last or 0.0 for each in ordered]
    counts = [above - below for above, below in zip(upto, [0.0, *upto], strict=False)]
    most = max(counts) or 1.0
    return {
        "items": [
            _figure(panel, each.name, count) | {"share": max(0.0, count / most)}
            for each, count in zip(ordered, counts, strict=True)
        ]
    }


def _figure(panel: Json, name: str, value: float | None) -> Json:
    """Return a value's text, in the colour of the highest threshold that it reaches."""
    defaults = _defaults(panel)
    if value is None:
        return {"name": name, "text": defaults.get("noValue", NO_DATA), "colour": COLOURS["text"]}
    _known("colour mode", defaults["color"]["mode"], {"thresholds": None})
    reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    written = text(value, defaults["unit"], defaults.get("decimals"))
    return {"name": name, "text": written, "colour": _colour(reached[-1]["color"])}


def _table(panel: Json, series: Sequence[Series], _: Window) -> Json:
    """A matrix of one label by another."""
    if not panel.get("transformations"):
        raise UnknownPart("table without the transformation 'groupingToMatrix'")
    options = panel["transformations"][0]["options"]
    empty: float = _known("empty value", options["emptyValue"], {"zero": 0.0})
    row, column = options["rowField"], options["columnField"]
    cells = {(each.labels[row], each.labels[column]): each.last or empty for each in series}
    rows, columns = (sorted({cell[place] for cell in cells}) for place in (0, 1))
    defaults = _defaults(panel)
    written = [
        [text(cells.get((r, c), empty), defaults["unit"], defaults.get("decimals")) for c in columns] for r in rows
    ]
    return {
        "head": [f"{row} \\ {column}", *columns],
        "rows": [[r, *cells] for r, cells in zip(rows, written, strict=True)],
    }


def _timeseries(panel: Json, series: Sequence[Series], window: Window) -> Json:
    defaults, legend = _defaults(panel), panel["options"]["legend"]
    custom = defaults["custom"]
    _known("colour mode", defaults["color"]["mode"], {"palette-classic": None})
    _known("draw style", custom["drawStyle"], {"line": None})
    _known(
        "legend", (legend["displayMode"], legend["placement"], legend["showLegend"]), {("list", "bottom", True): None}
    )
    stacking = _known("stacking", custom.get("stacking", {}).get("mode"), {None: False, "normal": True})
    logarithmic = _known("scale", custom.get("scaleDistribution", {}).get("type"), {None: False, "log": True})
    drawn = list(accumulate(series, stacked)) if stacking else list(series)
    values = [value for each in drawn for value in each.values if value is not None]
    axis = logarithmic_axis(values) if logarithmic else linear_axis(values, defaults.get("min"), defaults.get("max"))
    return {
        "times": list(window.times),
        "lines": [_line(panel, each, place) for place, each in enumerate(drawn)],
        "limits": _limits(defaults, custom.get("thresholdsStyle", {}).get("mode")),
        "stacked": stacking,
        "gap_s": custom["spanNulls"] / 1000,
        "axis": {"low": axis.low, "high": axis.high, "logarithmic": logarithmic, "ticks": axis.ticks}
        | {"texts": [text(tick, defaults["unit"]) for tick in axis.ticks]},
    }


def _line(panel: Json, series: Series, place: int) -> Json:
    """Return a line with its style: the panel's, and what the overrides of its name change."""
    custom = _defaults(panel)["custom"]
    line = {"name": series.name, "values": series.values, "width": custom["lineWidth"], "dash": []}
    line |= {"opacity": custom["fillOpacity"] / 100, "colour": PALETTE[place % len(PALETTE)]}
    for override in panel["fieldConfig"]["overrides"]:
        _known("matcher", override["matcher"]["id"], {"byRegexp": None})
        if not re.search(override["matcher"]["options"].strip("/"), series.name):
            continue
        for each in override["properties"]:
            key, read = _known("property of an override", each["id"], OVERRIDDEN)
            line[key] = read(each["value"])
    return line


def _limits(defaults: Json, style: str | None) -> list[Json]:
    """Return the thresholds that are drawn as lines."""
    drawn = _known("style of thresholds", style, {None: False, "dashed": True})
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is not None]
    return [{"value": step["value"], "colour": _colour(step["color"])} for step in steps] if drawn else []


def _defaults(panel: Json) -> Json:
    defaults: Json = panel["fieldConfig"]["defaults"]
    return defaults


def _colour(name: str) -> str:
    return name if name.startswith("#") else _known("colour", name, COLOURS)


def _known(part: str, value: Any, known: Mapping[Any, V]) -> V:
    if value not in known:
        raise UnknownPart(f"{part} {value!r}")
    return known[value]


SHOWN: dict[str, Callable[[Json, Sequence[Series], Window], Json]] = {
    "stat": _stat,
    "bargauge": _bargauge,
    "table": _table,
    "timeseries": _timeseries,
}
OVERRIDDEN: dict[str, tuple[str, Callable[[Json], Any]]] = {
    "color": ("colour", lambda value: _colour(value["fixedColor"])),
    "custom.lineStyle": ("dash", lambda value: value["dash"]),
}
