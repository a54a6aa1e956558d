from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.contract.features import OPTION_NAMES
from app.contract.fingerprint import EXAMPLE
from training.artifacts import Artifacts, read_rows
from training.config import SPLITS, Config, Dataset, Split
from training.dataset import build, split_tickers, thin


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


def test_thinning_leaves_out_at_the_stated_rates() -> None:
    draw = random.Random(0)
    thinned = [thin(EXAMPLE, draw, 0.05, 0.25) for _ in range(2000)]
    blocks = sum(set(OPTION_NAMES) <= set(metrics.missing()) for metrics in thinned) / len(thinned)
    rsi = sum("RSI_14" in metrics.missing() for metrics in thinned) / len(thinned)
    assert 0.22 < blocks < 0.28
    assert 0.035 < rsi < 0.065


def test_thinning_by_nothing_changes_nothing() -> None:
    assert thin(EXAMPLE, random.Random(0), 0, 0) == EXAMPLE
