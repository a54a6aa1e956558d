from __future__ import annotations

import random
import string
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.features import OPTION_NAMES
from app.contract.fingerprint import EXAMPLE
from training.artifacts import Artifacts, read_rows
from training.config.dataset import SPLITS, Dataset, Split
from training.config.run import Config
from training.dataset import stage as dataset
from training.dataset.stage import build, drop_metrics, require_disjoint, split_tickers


def test_splits_share_no_ticker_and_keep_to_their_dates(
    config: Config, artifacts: Artifacts, synthetic_market: Path
) -> None:
    build(config, artifacts, synthetic_market)
    seen: dict[str, set[str]] = {}
    for name in SPLITS:
        rows = list(read_rows(artifacts.folder / "dataset" / f"{name}.jsonl"))
        split = getattr(config.dataset, name)
        assert [row["detail"] for row in rows].count("full") == split.full
        assert len(rows) == split.brief + split.full
        assert all(row["as_of"] <= str(split.last) for row in rows)
        assert all(row["simulated"] == ["options"] for row in rows)
        seen[name] = {row["ticker"] for row in rows}
    assert not (seen["train"] & seen["test"] or seen["train"] & seen["validation"] or seen["test"] & seen["validation"])
    card = artifacts.manifest("dataset")
    assert card["train"]["pairs"] == 16
    assert card["train"]["tickers"] == len(seen["train"])


def test_the_same_seed_makes_the_same_data(config: Config, tmp_path: Path, synthetic_market: Path) -> None:
    texts = []
    for name in ("a", "b"):
        artifacts = Artifacts(tmp_path / name)
        build(config, artifacts, synthetic_market)
        texts.append((artifacts.folder / "dataset" / "train.jsonl").read_bytes())
    assert texts[0] == texts[1]


@settings(deadline=None)
@given(
    st.lists(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), unique=True, min_size=1),
    st.from_regex(r"[0-9]{1,3}", fullmatch=True),
)
def test_a_ticker_keeps_its_side_whatever_else_is_listed(tickers: list[str], more: str) -> None:
    share = {"first": "2024-01-01", "last": "2024-01-02", "brief": 1, "full": 0}
    later = {**share, "first": "2024-01-03", "last": "2024-01-03"}
    config = Dataset(
        options="none",
        seed=3,
        drop_metric=0,
        drop_options=0,
        train=Split.model_validate({**share, "tickers": 0.6}),
        validation=Split.model_validate({**later, "tickers": 0.1}),
        test=Split.model_validate({**later, "tickers": 0.3}),
    )
    few, many = (split_tickers({t: t for t in listed}, config) for listed in (tickers, [*tickers, f"X{more}"]))
    for name in SPLITS:
        assert set(few[name]) <= set(many[name])
    assert sum(map(len, few.values())) == len(tickers)


def rows(**splits: list[tuple[str, str]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [{"ticker": t, "as_of": day} for t, day in pairs] for name, pairs in splits.items()}


def test_rows_that_overlap_are_refused_by_name() -> None:
    apart = rows(
        train=[("GOOG", "2024-01-02"), ("A", "2024-01-05")],
        validation=[("B", "2024-01-08")],
        test=[("C", "2024-01-08")],
    )
    companies = {ticker: ticker for ticker in ("A", "B", "C", "GOOG")} | {"GOOGL": "GOOG"}
    require_disjoint(apart, companies)
    mixed = rows(
        train=[("GOOG", "2024-01-02"), ("A", "2024-01-05")],
        validation=[("A", "2024-01-08"), ("B", "2024-01-05")],
        test=[("GOOGL", "2024-01-08")],
    )
    with pytest.raises(ValueError, match="splits overlap") as caught:
        require_disjoint(mixed, companies)
    assert str(caught.value).split(": ")[1].split("; ") == [
        "GOOG is in test and in train",
        "A is in train and in validation",
        "validation has a close of 2024-01-05, not after train's last, 2024-01-05",
    ]


def test_nothing_is_written_of_splits_that_overlap(
    config: Config, artifacts: Artifacts, synthetic_market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "split_tickers", lambda companies, config: {name: list(companies) for name in SPLITS})
    with pytest.raises(ValueError, match="SYNA is in test and in train"):
        build(config, artifacts, synthetic_market)
    assert not (artifacts.folder / "dataset").exists()


def test_lines_of_one_company_fall_into_one_split(config: Config) -> None:
    companies = {f"{name}{line}": f"{name}A" for name in string.ascii_uppercase for line in "AB"}
    parts = split_tickers(companies, config.dataset)
    sides = {ticker: name for name, tickers in parts.items() for ticker in tickers}
    assert len(set(sides.values())) == 3
    assert all(sides[f"{name}A"] == sides[f"{name}B"] for name in string.ascii_uppercase)


def test_the_split_of_a_seed_stays_what_it_was(config: Config) -> None:
    """Published models name their unseen tickers by it."""
    shares = {"train": 0.75, "validation": 0.05, "test": 0.2}
    settings = config.dataset.model_copy(
        update={
            "seed": 7,
            **{n: getattr(config.dataset, n).model_copy(update={"tickers": s}) for n, s in shares.items()},
        }
    )
    known = {"train": ["AAPL", "GOOG", "GOOGL"], "validation": ["AJG", "NWS"], "test": ["GL", "MHK"]}
    assert split_tickers({t: t for part in known.values() for t in part}, settings) == known


def test_a_day_without_a_bar_does_not_reach_back_before_its_split(
    config: Config, artifacts: Artifacts, synthetic_market: Path
) -> None:
    """2024-02-10 and 11 are a weekend: their close is of the Friday that train ends with."""
    weekend = {"first": date(2024, 2, 10), "last": date(2024, 2, 13)}
    settings = config.dataset
    changed = {n: getattr(settings, n).model_copy(update=weekend) for n in ("validation", "test")}
    build(config.model_copy(update={"dataset": settings.model_copy(update=changed)}), artifacts, synthetic_market)
    for name in ("validation", "test"):
        assert artifacts.manifest("dataset")[name]["first"] >= "2024-02-12"
    assert sum(artifacts.manifest("dataset")[name]["skipped"] for name in ("validation", "test")) > 0


def test_a_rebuild_cut_off_is_not_taken_for_complete(
    config: Config, artifacts: Artifacts, synthetic_market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    build(config, artifacts, synthetic_market)
    monkeypatch.setattr(dataset, "write_rows", full_disk)
    with pytest.raises(OSError, match="no space left"):
        build(config, artifacts, synthetic_market)
    assert not artifacts.done("dataset")


def test_a_market_too_small_for_the_splits_is_refused(
    config: Config, artifacts: Artifacts, synthetic_market: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("ticker\nSYNA\n")
    settings = config.dataset.model_copy(update={"universe": str(tmp_path / "list.csv")})
    with pytest.raises(ValueError, match="of 1 tickers none falls into validation or test"):
        build(config.model_copy(update={"dataset": settings}), artifacts, synthetic_market)


def test_tickers_without_history_are_reported(config: Config, artifacts: Artifacts, synthetic_market: Path) -> None:
    early = config.dataset.train.model_copy(update={"first": date(2022, 6, 1), "last": date(2022, 7, 1)})
    settings = config.dataset.model_copy(update={"train": early})
    with pytest.raises(ValueError, match="no ticker of the train split has enough history between its dates"):
        build(config.model_copy(update={"dataset": settings}), artifacts, synthetic_market)


def test_a_universe_narrows_the_market_and_is_counted(
    config: Config, artifacts: Artifacts, synthetic_market: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("ticker,name\nSYNA,A\nSYNB,B\nSYNC,C\nSYND,D\nSYNE,E\nABSENT,F\n")
    settings = config.dataset.model_copy(update={"universe": str(listed), "seed": 0})
    build(config.model_copy(update={"dataset": settings}), artifacts, synthetic_market)
    assert artifacts.manifest("dataset")["universe_tickers"] == {"used": 5, "absent": 1}
    seen = {row["ticker"] for name in SPLITS for row in read_rows(artifacts.folder / "dataset" / f"{name}.jsonl")}
    assert seen <= {"SYNA", "SYNB", "SYNC", "SYND", "SYNE"}


def test_metrics_are_dropped_at_the_stated_rates() -> None:
    draw = random.Random(0)
    thinned = [drop_metrics(EXAMPLE, draw, 0.05, 0.25) for _ in range(2000)]
    blocks = sum(set(OPTION_NAMES) <= set(metrics.missing()) for metrics in thinned) / len(thinned)
    rsi = sum("RSI_14" in metrics.missing() for metrics in thinned) / len(thinned)
    assert 0.22 < blocks < 0.28
    assert 0.035 < rsi < 0.065
