from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from training.costs.break_even import Case, break_even, break_even_table, cases, chart, hosting

money = st.decimals("0.0001", "10", places=4)
calls = st.decimals("1", "100000", places=1)


def test_the_published_figures_break_even_at_24_and_a_half_calls() -> None:
    (published,) = cases([])
    assert [row.split("|")[-2].strip() for row in break_even_table([published]).splitlines()][2:] == ["24.5"]


@given(money, calls, money)
def test_from_the_break_even_on_a_machine_is_cheaper_and_before_it_is_not(
    usd_per_hour: Decimal, capacity: Decimal, usd_per_call: Decimal
) -> None:
    case = Case("", usd_per_hour, capacity, {})
    even = break_even(case, usd_per_call)
    if even is None:
        assert hosting(case, capacity) >= capacity * usd_per_call
    else:
        assert even < capacity
        assert hosting(case, even * Decimal("0.99")) > even * Decimal("0.99") * usd_per_call
        after = min(even * Decimal("1.01"), capacity)
        assert hosting(case, after) < after * usd_per_call


def test_more_calls_than_a_machine_can_take_need_another() -> None:
    case = Case("", Decimal("0.1"), Decimal(100), {})
    assert [hosting(case, Decimal(n)) for n in (0, 1, 100, 101, 200, 201)] == [
        Decimal(price) for price in ("0.1", "0.1", "0.1", "0.2", "0.2", "0.3")
    ]


def test_a_full_machine_that_still_costs_more_is_reported() -> None:
    case = Case("a call", Decimal(1), Decimal(10), {"dear": Decimal("0.2"), "cheap": Decimal("0.05")})
    *_, dear, cheap = break_even_table([case]).splitlines()
    assert dear.endswith("| dear | 0.2 | 5.0 |")
    assert cheap.endswith("| cheap | 0.05 | never: a full machine costs more |")


def test_the_chart_is_a_png_a_panel_wide_for_each_case(tmp_path: Path) -> None:
    own = Case("own", Decimal("0.1"), Decimal(5000), {"GPT-4 as published": Decimal("0.006")})
    widths = []
    for found in ([own], [own, own]):
        chart(found, tmp_path / "chart.png")
        content = (tmp_path / "chart.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        widths.append(int.from_bytes(content[16:20]))
    assert widths[1] == 2 * widths[0]
    assert [path.name for path in tmp_path.iterdir()] == ["chart.png"]
