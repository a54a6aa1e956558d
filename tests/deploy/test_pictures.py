"""Pictures of the dashboards: units, axes, places, what each panel shows, and a page in a real browser."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deploy.demo.dashboards import DASHBOARDS, dashboard
from deploy.demo.panels import GAP_PX, NO_DATA, box, view
from deploy.demo.pictures import PROGRAMS, seen, take
from deploy.demo.prometheus import Prometheus
from deploy.demo.series import Window
from deploy.demo.units import UNITS, Axis, UnknownPart, linear_axis, logarithmic_axis, text
from tests.conftest import served

NAMES = ("ab", "cost", "overview", "vllm")
WINDOW = Window(1_700_000_000, 1_700_000_060, 2)
LABELS: dict[str, list[str]] = {
    "backend": ["mistral", "gpt-4"],
    "mistral_action": ["buy", "sell"],
    "gpt4_action": ["buy", "hold"],
    "le": ["1", "2", "10", "+Inf"],
}


class PrometheusStandIn:
    """A fake Prometheus: queries have series with all labels that legends name, those with the text `silent` none."""

    def __init__(self) -> None:
        self.silent = ""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/v1/query", self.instant), Route("/api/v1/query_range", self.range)])

    def _series(self, expr: str) -> list[dict[str, str]]:
        if self.silent and self.silent in expr:
            return []
        if "by (le)" in expr:
            return [{"le": le} for le in LABELS["le"]]
        return [{name: LABELS[name][place] for name in LABELS} for place in (0, 1)]

    async def instant(self, request: Request) -> JSONResponse:
        time, found = int(request.query_params["time"]), self._series(request.query_params["query"])
        return self._answer([{"metric": each, "value": [time, str(3 + place)]} for place, each in enumerate(found)])

    async def range(self, request: Request) -> JSONResponse:
        start, end, step = (int(request.query_params[name]) for name in ("start", "end", "step"))
        found = self._series(request.query_params["query"])
        heights = {at: math.sin(at / 9) for at in range(start, end, step)} | {end: math.nan}
        return self._answer(
            [
                {"metric": each, "values": [[at, str(0.02 * (place + 1.5 + height))] for at, height in heights.items()]}
                for place, each in enumerate(found)
            ]
        )

    def _answer(self, result: list[dict[str, Any]]) -> JSONResponse:
        return JSONResponse({"status": "success", "data": {"result": result}})


@pytest.fixture(scope="module")
def stand_in() -> PrometheusStandIn:
    return PrometheusStandIn()


@pytest.fixture(scope="module")
def prometheus(stand_in: PrometheusStandIn) -> Iterator[Prometheus]:
    with served(stand_in.app()) as origin:
        yield Prometheus(origin)


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.0, "none", "0"),
        (1234.0, "none", "1234"),
        (2.5, "none", "2.5"),
        (0.012345, "none", "0.0123"),
        (-1.5, "currencyUSD", "-$1.5"),
        (0.0000134, "currencyUSD", "$0.0000134"),
        (12_300.0, "currencyUSD", "$12.3K"),
        (0.8756, "percentunit", "87.6%"),
        (1.0, "percentunit", "100%"),
        (0.25, "reqps", "0.25 req/s"),
        (1500.0, "reqps", "1.5K req/s"),
        (42.0, "ms", "42 ms"),
        (1500.0, "ms", "1.5 s"),
        (0.00042, "s", "420 µs"),
        (0.042, "s", "42 ms"),
        (1.5, "s", "1.5 s"),
        (90.0, "s", "1.5 min"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: str, written: str) -> None:
    assert text(value, unit) == written


def test_stated_decimals_are_kept() -> None:
    assert text(0.1, "currencyUSD", 5) == "$0.10000"
    assert text(3.2, "none", 0) == "3"


def test_the_units_are_those_of_the_dashboards() -> None:
    panels = [panel for name in NAMES for panel in dashboard(name, {})["panels"] if panel["type"] != "row"]
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in panels} == set(UNITS)


def test_a_linear_axis_ends_at_round_numbers_or_where_the_panel_states() -> None:
    axis = linear_axis([0.3, 7.2], 0, None)
    assert (axis.low, axis.high, axis.ticks) == (0, 8, (0, 2, 4, 6, 8))
    assert linear_axis([3.0, 3.0], None, None).low <= 3 < linear_axis([3.0, 3.0], None, None).high
    assert linear_axis([0.2], 0, 1).high == 1


def test_a_logarithmic_axis_holds_all_positive_values() -> None:
    assert logarithmic_axis([0.03, 0.4]) == Axis(0.02, 0.5, (0.02, 0.05, 0.1, 0.2, 0.5))
    assert logarithmic_axis([0.003, 0.0, 40]).ticks == (0.01, 0.1, 1, 10)
    same = logarithmic_axis([1.0, 1.0])
    assert same.low <= 1 < same.high


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_gaps_and_no_overlap(name: str) -> None:
    boxes = [box(panel["gridPos"]) for panel in dashboard(name, {})["panels"]]
    for one, other in combinations(boxes, 2):
        beside = abs(one["left"] - other["left"]) >= GAP_PX + (one if one["left"] < other["left"] else other)["width"]
        below = abs(one["top"] - other["top"]) >= GAP_PX + (one if one["top"] < other["top"] else other)["height"]
        assert beside or below


def panel(name: str, kind: str) -> dict[str, Any]:
    return next(each for each in dashboard(name, {})["panels"] if each["type"] == kind)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_can_be_shown(prometheus: Prometheus, name: str) -> None:
    shown = seen(name, prometheus, WINDOW, "")
    json.dumps(shown, allow_nan=False)
    assert len(shown["panels"]) == len(json.loads((DASHBOARDS / f"{name}.json").read_text())["panels"])
    assert not any("empty" in each for each in shown["panels"])
    assert f"dashboards/{name}.json" in shown["note"] and "Not Grafana" in shown["note"]


def test_a_figure_is_the_last_number_in_its_threshold_s_colour(prometheus: Prometheus) -> None:
    failing = next(each for each in dashboard("overview", {})["panels"] if each["title"] == "Failing")
    items = view(failing, prometheus, WINDOW)["items"]
    assert [each["name"] for each in items] == LABELS["backend"]
    assert [each["text"][-1] for each in items] == ["%", "%"]
    assert items[0]["colour"] == "#EAB839" and items[0]["spark"][-1] is None


def test_a_line_has_the_style_of_its_name(prometheus: Prometheus) -> None:
    waiting = next(each for each in dashboard("overview", {})["panels"] if "queued" in each["title"])
    lines = {line["name"]: line for line in view(waiting, prometheus, WINDOW)["lines"]}
    assert lines["mistral, waiting"]["dash"] and not lines["mistral, under way"]["dash"]
    assert lines["mistral, waiting"]["colour"] == lines["mistral, under way"]["colour"]
    assert lines["gpt-4, waiting"]["colour"] != lines["mistral, waiting"]["colour"]


def test_lines_are_stacked_where_the_panel_says_so(prometheus: Prometheus) -> None:
    stacked = next(
        each
        for each in dashboard("overview", {})["panels"]
        if each["type"] == "timeseries" and "stacking" in each["fieldConfig"]["defaults"]["custom"]
    )
    lower, upper = view(stacked, prometheus, WINDOW)["lines"]
    assert all(above > below for below, above in zip(lower["values"][:-1], upper["values"][:-1], strict=True))


def test_a_matrix_has_both_labels_and_zeros(prometheus: Prometheus) -> None:
    shown = view(panel("ab", "table"), prometheus, WINDOW)
    assert shown["head"] == ["mistral_action \\ gpt4_action", "buy", "hold"]
    assert shown["rows"] == [["buy", "3", "0"], ["sell", "0", "4"]]


def test_buckets_are_counted_without_those_below_them(prometheus: Prometheus) -> None:
    items = view(panel("ab", "bargauge"), prometheus, WINDOW)["items"]
    assert [(each["name"], each["text"]) for each in items] == [("1", "3"), ("2", "1"), ("10", "1"), ("+Inf", "1")]


def test_a_query_without_data_is_no_empty_box(stand_in: PrometheusStandIn, prometheus: Prometheus) -> None:
    stand_in.silent = "conviction"
    try:
        assert view(panel("overview", "timeseries"), prometheus, WINDOW)["empty"] == NO_DATA
        assert view(panel("overview", "stat"), prometheus, WINDOW)["empty"] == "-"
    finally:
        stand_in.silent = ""


@pytest.mark.parametrize(
    ("kind", "path", "value", "named"),
    [
        ("stat", ("type",), "piechart", "panel type 'piechart'"),
        ("stat", ("fieldConfig", "defaults", "unit"), "bytes", "unit 'bytes'"),
        ("stat", ("transformations",), [{"id": "merge"}], "transformation 'merge'"),
        ("stat", ("options", "reduceOptions", "calcs"), ["mean"], "calculation"),
        ("stat", ("fieldConfig", "defaults", "thresholds", "steps", 0, "color"), "pink", "colour 'pink'"),
        ("timeseries", ("fieldConfig", "defaults", "custom", "drawStyle"), "bars", "draw style 'bars'"),
        (
            "timeseries",
            ("fieldConfig", "overrides", 2, "properties", 0, "id"),
            "unit",
            "property of an override 'unit'",
        ),
    ],
)
def test_an_unknown_part_is_named(
    prometheus: Prometheus, kind: str, path: tuple[str | int, ...], value: Any, named: str
) -> None:
    changed = panel("overview", kind)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UnknownPart, match=named):
        view(changed, prometheus, WINDOW)


def test_a_dashboard_is_drawn_in_a_browser(prometheus: Prometheus, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
    image = pytest.importorskip("PIL.Image")
    if not any(map(shutil.which, PROGRAMS)):
        pytest.skip("no browser tests: Chromium is not installed")
    [path] = take(["ab"], prometheus, WINDOW.begin, WINDOW.end, "The data are a stand-in's.", tmp_path)
    picture = image.open(path).convert("RGB")
    assert path.name == "dashboard-ab.png" and picture.width == 1216 and picture.height > 31 * 32
    colours = {colour for _, colour in picture.getcolors(1 << 24)}
    assert {(0x32, 0x74, 0xD9), (0xE0, 0x70, 0x1A)} <= colours  # lines of both backends
