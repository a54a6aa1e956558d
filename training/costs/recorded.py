"""Costs of this project's runs and published versions, from their manifests. Money in USD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.contract.manifest import MANIFEST, Manifest, read
from app.pricing.prices import ListPrice, list_price
from training.artifacts import Artifacts
from training.config import Config
from training.costs.case_study import Hosting, Training
from training.evaluation.documents import evaluations, measured_speed
from training.evaluation.frontier import API_MODEL
from training.finetune.record import tuning


@dataclass(frozen=True)
class Served:
    """Hosting cost of one detail at measured capacity, and the API price of the same call."""

    hosting: Hosting
    api_model: str
    api_usd_per_call: Decimal


@dataclass(frozen=True)
class Recorded:
    """Costs of a run; None or empty where not recorded."""

    name: str
    training: Training
    teacher: str
    labels_usd: Decimal | None
    usd_per_hour: Decimal | None
    """Price of the serving machine."""
    served: list[Served]


@dataclass(frozen=True)
class _Facts:
    """Figures of the stages' manifests, or of the newest published version."""

    labels: dict[str, Any]
    tuned: dict[str, Any]
    speeds: dict[str, dict[str, Any]]


def recorded(config: Config, runs: Path, store: Path, usd_per_hour: Decimal | None) -> Recorded | None:
    """Return the costs of `config`'s run, else of its newest version, else None.

    `usd_per_hour` is the serving machine's price; by default the one that the newest version states.
    """
    version = newest(store / config.name)
    run = Artifacts(runs / config.name)
    facts = _of_run(run) if run.done("finetune") else _of_version(version) if version else None
    if facts is None:
        return None
    if usd_per_hour is None and version and version.capacity:
        usd_per_hour = version.capacity.usd_per_hour
    cost = facts.labels.get("cost")
    return Recorded(
        config.name,
        _training(config, facts.tuned),
        facts.labels["model"],
        Decimal(cost["nano_usd"]).scaleb(-9) if cost else None,
        usd_per_hour,
        [] if usd_per_hour is None else list(_served(config, facts.speeds, usd_per_hour)),
    )


def _of_run(run: Artifacts) -> _Facts:
    found = evaluations(run).items()
    speeds = {name: measured_speed(report) for name, report in found if name.endswith("-awq")}
    return _Facts(run.manifest("label"), tuning(run), speeds)


def _of_version(version: Manifest) -> _Facts:
    data = version.data
    tuned = {"seconds": data["train_seconds"], **data.get("training", {})}
    return _Facts({"model": version.teacher, **data.get("labels", {})}, tuned, data.get("speed", {}))


def _training(config: Config, tuned: dict[str, Any]) -> Training:
    devices = int(tuned.get("devices", 1))
    return Training(
        "-",
        "-",
        f"{config.base.name} ({config.name})",
        devices,
        Decimal(str(tuned["seconds"])),
        Decimal(tuned["usd_per_hour"]) * devices if "usd_per_hour" in tuned else None,
        Decimal(tuned["cost_usd"]) if "cost_usd" in tuned else None,
    )


def _served(config: Config, speeds: dict[str, dict[str, Any]], usd_per_hour: Decimal) -> Iterator[Served]:
    price = list_price(API_MODEL)
    for name, speed in speeds.items():
        yield Served(_hosting(f"{config.name}, {name}", speed, usd_per_hour), API_MODEL, _api(price, speed))


def newest(versions: Path) -> Manifest | None:
    """Return the latest published version of a model after verifying its hashes."""
    found = [read(path.parent) for path in versions.glob(f"[!.]*/{MANIFEST}")]
    return max(found, key=lambda manifest: manifest.created, default=None)


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
