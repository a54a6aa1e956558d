from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import ConfigError, load


def test_splits_that_do_not_fit_together_are_all_reported_beside_a_wrong_rate(config_file: Path) -> None:
    text = config_file.read_text()
    for right, wrong in (
        ("drop_metric = 0.2", 'drop_metric = 1.5\nuniverse = "nowhere.csv"'),
        ("tickers = 0.4", "tickers = 0.5"),
        ("last = 2024-02-09", "last = 2024-02-12"),
        ("brief = 4\nfull = 2", "brief = 0\nfull = 0"),
        ("last = 2024-03-08\nbrief = 6", "last = 2024-02-11\nbrief = 6"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    for wrong in (
        "dataset.drop_metric: Input should be less than 1",
        "dataset.universe: Value error, 'nowhere.csv' is neither 'market', 'prominent' nor a file",
        "validation.brief and validation.full are both 0",
        "validation.first, 2024-02-12, is not after train.last, 2024-02-12",
        "test.first, 2024-02-12, is not after train.last, 2024-02-12",
        "test.first, 2024-02-12, is after test.last, 2024-02-11",
        "the shares of train, validation, test sum to 1.1, above 1",
    ):
        assert wrong in str(caught.value)
