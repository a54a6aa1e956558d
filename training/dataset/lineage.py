"""Rules by which data sets were split, over all the data sets that an adapter was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.contract.manifest import UnusableModel, read
from training.config.dataset import SPLITS, Dataset
from training.config.run import Config

FIELD = "splits"
"""The field of a manifest's `data` with the rules of a version, its own first and then its ancestors'."""


def split_rule(dataset: Dataset) -> dict[str, Any]:
    """Return what determines the companies of each split, and the dates of each."""
    splits = {name: getattr(dataset, name) for name in SPLITS}
    return {
        "seed": dataset.seed,
        "universe": dataset.universe,
        "shares": {name: split.tickers for name, split in splits.items()},
        "dates": {name: [str(split.first), str(split.last)] for name, split in splits.items()},
    }


def lineage(config: Config) -> list[dict[str, Any]]:
    """Return the rule of this run's data set and those of the version that it continues.

    Raises `UnusableModel` if that version cannot be read or does not state them.
    """
    return [split_rule(config.dataset), *_ancestors(config)]


def overlaps(config: Config) -> Iterator[str]:
    """Yield how pairs that an ancestor was trained on could be in the validation or test split of this run."""
    own = split_rule(config.dataset)
    try:
        ancestors = _ancestors(config)
    except UnusableModel as error:
        yield f"finetune.continue_from: {error}"
        return
    for rule in ancestors:
        for name in ("seed", "universe", "shares"):
            if rule[name] != own[name]:
                yield (
                    f"finetune.continue_from, {config.finetune.continue_from}: it was trained on companies drawn with "
                    f"{name} {rule[name]}, and the data set has {own[name]}, so that some may be in validation or test"
                )
        trained = rule["dates"]["train"][1]
        for name in SPLITS[1:]:
            if (first := own["dates"][name][0]) <= trained:
                yield (
                    f"dataset.{name}.first, {first}, is not after {trained}, "
                    f"up to which {config.finetune.continue_from} was trained"
                )


def _ancestors(config: Config) -> list[dict[str, Any]]:
    start = config.finetune.continue_from
    if start is None:
        return []
    rules: list[dict[str, Any]] | None = read(start).data.get(FIELD)
    if rules is None:
        raise UnusableModel(f"{start} does not state how the pairs that it was trained on were split")
    return rules
