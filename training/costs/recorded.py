"""Costs of this project's runs and published versions, from their manifests. Money in USD."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.contract.manifest import MANIFEST, Manifest, read
from app.pricing.prices import ListPrice, list_price
from training.artifacts import Artifacts
from training.config.run import Config
from training.costs.case_study import Hosting, Training
from training.evaluation.documents import evaluations, measured_speed
from training.evaluation.frontier import API_MODEL
from training.finetune.record import tuning

MEASURED = {"cpu": "measured on a CPU", "gpu": "measured on a GPU", None: "measured"}
"""Source of a training's row by the kind of device that its manifest records."""
TUNED = "finetune/manifest.json"


@dataclass(frozen=True)
class Served:
    """Hosting cost of one detail at measured capacity, and the API price of the same call."""

    hosting: Hosting
    api_model: str
    api_usd_per_call: Decimal


@dataclass(frozen=True)
class Recorded:
    """Costs of a configuration; None or empty where not recorded."""

    name: str
    trainings: list[Training]
    """The newest of each process count and machine; the newest of all is last."""
    teacher: str
    labels_usd: Decimal | None
    usd_per_hour: Decimal | None
    """Price of the serving machine."""
    served: list[Served]


@dataclass(frozen=True)
class _Facts:
    """Figures of a run's stages, or of a published version."""

    labels: dict[str, Any]
    tuned: dict[str, Any]
    speeds: dict[str, dict[str, Any]]


def recorded(config: Config, runs: Path, store: Path, usd_per_hour: Decimal | None) -> Recorded | None:
    """Return the costs of `config`'s published versions and of its runs, which count as newer; None without any.

    `usd_per_hour` is the serving machine's price; by default the one that the newest version states.
    """
    versions = published(store / config.name)
    own = (run for run in finished(runs) if run.folder.name == config.name)
    facts = [*map(_of_version, versions), *map(_of_run, own)]
    if not facts:
        return None
    if usd_per_hour is None and versions and (capacity := versions[-1].capacity):
        usd_per_hour = capacity.usd_per_hour
    labels = facts[-1].labels
    cost = labels.get("cost")
    speeds = next((each.speeds for each in reversed(facts) if each.speeds), {})
    return Recorded(
        config.name,
        _distinct(_training(config, each.tuned) for each in facts),
        labels["model"],
        Decimal(cost["nano_usd"]).scaleb(-9) if cost else None,
        usd_per_hour,
        [] if usd_per_hour is None else list(_served(config, speeds, usd_per_hour)),
    )


def finished(runs: Path) -> list[Artifacts]:
    """Return the runs with a trained adapter, in `runs` or in a folder of it, the newest last."""
    found = [*runs.glob(f"*/{TUNED}"), *runs.glob(f"*/*/{TUNED}")]
    return [Artifacts(path.parents[1]) for path in sorted(found, key=lambda path: path.stat().st_mtime)]


def published(versions: Path) -> list[Manifest]:
    """Return the published versions of a model, the newest last, after verifying their hashes."""
    found = [read(path.parent) for path in versions.glob(f"[!.]*/{MANIFEST}")]
    return sorted(found, key=lambda manifest: manifest.created)


def _distinct(rows: Iterable[Training]) -> list[Training]:
    """Return the last row of each process count and machine, in the order in which these come."""
    found: dict[tuple[int, str], Training] = {}
    for row in rows:
        found.pop((row.devices, row.machine), None)
        found[row.devices, row.machine] = row
    return list(found.values())


def _of_run(run: Artifacts) -> _Facts:
    found = evaluations(run).items()
    speeds = {name: measured_speed(report) for name, report in found if name.endswith("-awq")}
    return _Facts(run.manifest("label"), tuning(run), speeds)


def _of_version(version: Manifest) -> _Facts:
    data = version.data
    tuned = {"seconds": data["train_seconds"], "tokens": data["tokens"], **data.get("training", {})}
    return _Facts({"model": version.teacher, **data.get("labels", {})}, tuned, data.get("speed", {}))


def _training(config: Config, tuned: dict[str, Any]) -> Training:
    devices = int(tuned.get("devices", 1))
    return Training(
        MEASURED[tuned.get("device")],
        "own",
        tuned.get("machine", "not recorded"),
        f"{config.base.name} ({config.name})",
        devices,
        tuned.get("tokens"),
        Decimal(str(tuned["seconds"])),
        Decimal(tuned["usd_per_hour"]) * devices if "usd_per_hour" in tuned else None,
        Decimal(tuned["cost_usd"]) if "cost_usd" in tuned else None,
    )


def _served(config: Config, speeds: dict[str, dict[str, Any]], usd_per_hour: Decimal) -> Iterator[Served]:
    price = list_price(API_MODEL)
    for name, speed in speeds.items():
        yield Served(_hosting(f"{config.name}, {name}", speed, usd_per_hour), API_MODEL, _api(price, speed))


def _hosting(model: str, speed: dict[str, Any], usd_per_hour: Decimal) -> Hosting:
    """Return the hosting row at the evaluation's load, with its concurrency kept constant."""
    calls, written = Decimal(speed["calls"]), Decimal(speed["completion_tokens"])
    tokens, seconds = speed["prompt_tokens"] + written, Decimal(str(speed["seconds"]))
    per_hour = calls * 3600 / seconds
    return Hosting(
        vendor="own",
        machine=f"{speed['machine']}, {speed['concurrency']} concurrent",
        model=model,
        usd_per_hour=usd_per_hour,
        calls_per_hour=per_hour,
        tokens_per_call=tokens / calls,
        tokens_per_second=tokens / seconds,
        usd_per_call=usd_per_hour / per_hour,
        usd_per_1k=usd_per_hour * 1000 / (tokens * 3600 / seconds),
        ms_per_token=1000 * speed["concurrency"] * seconds / written if written else None,
    )


def _api(price: ListPrice, speed: dict[str, Any]) -> Decimal:
    """Return the list price of the evaluation's mean call, in this model's tokens."""
    read, written = Decimal(speed["prompt_tokens"]), Decimal(speed["completion_tokens"])
    return (read * price.input + written * price.output) / 10**6 / Decimal(speed["calls"])
