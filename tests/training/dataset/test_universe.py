from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import ConfigError
from training.dataset.universe import select_universe


def test_the_whole_market_knows_no_companies() -> None:
    universe = select_universe("market", ["GOOG", "GOOGL"])
    assert universe.companies == {"GOOG": "GOOG", "GOOGL": "GOOGL"}
    assert universe.absent == []


def test_the_prominent_are_those_of_the_indices_that_the_folder_has() -> None:
    universe = select_universe("prominent", ["AAPL", "BRK-B", "SYNA"])
    assert set(universe.companies) == {"AAPL", "BRK-B"}
    assert len(universe.absent) > 1000
    assert "MSFT" in universe.absent


@pytest.mark.parametrize(
    ("lines", "company"),
    [(("GOOG", "GOOGL"), "GOOG"), (("NWSA",), "NWS"), (("CENT", "CENTA"), "CENT"), (("CWEN", "CWEN.A"), "CWEN")],
)
def test_lines_of_one_company_go_by_one_ticker_whichever_the_folder_has(lines: tuple[str, ...], company: str) -> None:
    assert select_universe("prominent", lines).companies == dict.fromkeys(lines, company)


@pytest.mark.parametrize(
    ("text", "companies"),
    [
        ("ticker\naapl\n\nmsft\n", {"AAPL": "AAPL", "MSFT": "MSFT"}),
        ("\ufeffname,ticker\nGreen Class A,BBB\nGreen (Class B),AAPL\n", {"AAPL": "AAPL"}),
        ("ticker,name\nAAPL,Green Series A\nMSFT,Green\n", {"AAPL": "AAPL", "MSFT": "AAPL"}),
    ],
)
def test_a_file_lists_tickers_and_maybe_names(tmp_path: Path, text: str, companies: dict[str, str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    assert select_universe(str(path), ["AAPL", "MSFT", "SYNA"]).companies == companies


def test_every_line_that_is_wrong_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("ticker\nBRK.B\nAT&T\nbrk-b\nTOOLONGATICKER\n")
    with pytest.raises(ConfigError) as caught:
        select_universe(str(path), ["BRK.B"])
    assert str(caught.value).splitlines() == [
        f"{path}:",
        "  line 3, ticker: 'AT&T' is not a ticker symbol",
        "  line 4, ticker: 'brk-b' duplicates line 2",
        "  line 5, ticker: 'TOOLONGATICKER' is not a ticker symbol",
    ]


def test_a_file_without_the_column_and_a_market_without_the_tickers_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("AAPL\nMSFT\n")
    with pytest.raises(ConfigError, match=r"list\.txt: no column ticker in its first line"):
        select_universe(str(path), ["AAPL"])
    with pytest.raises(ConfigError, match="none of the 1120 tickers of prominent"):
        select_universe("prominent", ["SYNA"])
