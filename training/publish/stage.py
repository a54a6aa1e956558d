"""Publication of a run to `model_store/<name>/<version>/` with adapter, manifest and model card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.contract.fingerprint import fingerprint
from app.contract.manifest import CURRENT, MANIFEST, Agreement, BaseRecord, Capacity, Check, Golden, Manifest, sha256
from app.contract.prompt import PROMPT_VERSION
from training.artifacts import Artifacts, write_json
from training.config.run import Config
from training.dataset.lineage import lineage
from training.evaluation.calibration import calibrations
from training.evaluation.documents import answers, evaluations, measured_speed
from training.finetune.record import tuning
from training.publish.gate import Refused, gate
from training.publish.model_card import model_card

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
SIZE_LIMIT = 20_000_000
"""Maximum bytes of one file, because the store is kept in git."""
REPORT = "report"
"""The run's report, published without its HTML page."""
TRAINING_FACTS = ("devices", "machine", "device", "dtype", "usd_per_hour", "cost_usd", "continued_from", "qat")
LABEL_FACTS = ("teacher", "stand_in", "tokens", "cost", "failures")
"""Fields copied from the stages' manifests, where present."""


def admit(config: Config, artifacts: Artifacts, store: Path, version: str, overrides: Collection[str]) -> list[Check]:
    """Return the gate's checks. Raises `Refused` if the version exists, has another contract, is too big, or fails."""
    folder = store / config.name / version
    if folder.exists():
        raise Refused(f"{folder} exists: versions are immutable, publish another")
    labels, _ = artifacts.manifest("label"), tuning(artifacts)
    if labels["fingerprint"] != fingerprint():
        raise Refused(f"labels have contract {labels['fingerprint']}, the code's is {fingerprint()}")
    for name in ADAPTER_FILES:
        size = (artifacts.adapter / name).stat().st_size
        if size > SIZE_LIMIT:
            raise Refused(f"{name} has {size} bytes, {SIZE_LIMIT} allowed")
    return gate(config.publish, evaluations(artifacts), answers(artifacts), labels["model"], overrides)


def publish(
    config: Config,
    artifacts: Artifacts,
    store: Path,
    version: str,
    golden: list[Golden],
    usd_per_hour: Decimal,
    overrides: Collection[str] = (),
) -> Path:
    """Write the version, then point `current` at it. Raises `Refused` as `admit` does."""
    checks = admit(config, artifacts, store, version, overrides)
    folder, staged = store / config.name / version, store / config.name / f".part-{version}"
    if staged.exists():
        shutil.rmtree(staged)
    (staged / "adapter").mkdir(parents=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(artifacts.adapter / name, staged / "adapter" / name)
    manifest = _manifest(config, artifacts, version, golden, usd_per_hour, staged / "adapter", checks)
    write_json(staged / MANIFEST, manifest.model_dump(mode="json"))
    history = tuning(artifacts).get("history", [])
    (staged / "README.md").write_text(model_card(manifest, evaluations(artifacts), history))
    if (evidence := artifacts.folder / REPORT).exists():
        shutil.copytree(evidence, staged / REPORT, ignore=shutil.ignore_patterns("*.html"))
    for path in staged.rglob("*.*"):
        _sync(path)
    staged.rename(folder)
    pointer = store / f".{CURRENT}"
    pointer.write_text(f"{config.name}/{version}\n")
    _sync(pointer)
    pointer.replace(store / CURRENT)
    return folder


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _manifest(
    config: Config,
    artifacts: Artifacts,
    version: str,
    golden: list[Golden],
    usd_per_hour: Decimal,
    adapter: Path,
    checks: list[Check],
) -> Manifest:
    labels, tuned, reports = artifacts.manifest("label"), tuning(artifacts), evaluations(artifacts)
    return Manifest(
        name=config.name,
        version=version,
        created=datetime.now(UTC).replace(microsecond=0),
        fingerprint=fingerprint(),
        prompt_version=PROMPT_VERSION,
        teacher=labels["model"],
        base=BaseRecord(
            name=config.base.name,
            license=config.base.license,
            weights=tuned["base"]["weights"],
            source=config.base.model_dump(exclude_none=True),
        ),
        adapter={name: sha256(adapter / name) for name in ADAPTER_FILES},
        data=_data(config, artifacts, reports),
        quantisation=config.quantize.model_dump(),
        evaluation={name: Agreement.model_validate(_measured(report)) for name, report in reports.items()},
        capacity=_capacity(reports, usd_per_hour),
        golden=golden,
        gate=checks,
        calibration=calibrations(artifacts) or None,
    )


def _data(config: Config, artifacts: Artifacts, reports: dict[str, Any]) -> dict[str, Any]:
    labels, tuned = artifacts.manifest("label"), tuning(artifacts)
    return {
        "seed": config.dataset.seed,
        "options": config.dataset.options,
        "pairs": tuned["pairs"],
        "tokens": tuned["tokens"],
        "balance": labels["balance"],
        "splits": lineage(config),
        "tickers": {name: artifacts.manifest("dataset")[name]["tickers"] for name in ("train", "test")},
        "train_seconds": tuned["seconds"],
        "labels": {name: labels[name] for name in LABEL_FACTS if name in labels},
        "training": {name: tuned[name] for name in TRAINING_FACTS if name in tuned},
        "speed": {name: measured_speed(report) for name, report in reports.items() if name.endswith("-awq")},
    }


def _measured(report: dict[str, Any]) -> dict[str, Any]:
    return {name: report["agreement"][name] for name in Agreement.model_fields}


def _capacity(reports: dict[str, Any], usd_per_hour: Decimal) -> Capacity | None:
    """Return the capacity measured with full answers, which are mostly generated tokens and so cost more."""
    report = reports.get("full-awq")
    if report is None:
        return None
    return Capacity(
        tokens_per_hour=report["speed"]["tokens_per_hour"],
        concurrency=report["speed"]["concurrency"],
        machine=report["machine"],
        usd_per_hour=usd_per_hour,
        price_source="stated assumption: a rented two-core machine; set CONVICTION_HOSTING_USD_PER_HOUR to your own",
    )
