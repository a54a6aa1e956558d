"""A finished run -> `model_store/<name>/<version>/`: adapter, manifest, model card; `current` names it."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.contract.fingerprint import fingerprint
from app.contract.manifest import CURRENT, MANIFEST, Agreement, BaseRecord, Capacity, Golden, Manifest, sha256
from app.contract.prompt import PROMPT_VERSION
from training.artifacts import Artifacts, write_json
from training.config import Config
from training.model_card import model_card

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
SIZE_LIMIT = 20_000_000
"""Bytes of one file: the store lives in git."""


class Refused(ValueError):
    """The run must not be published."""


def publish(
    config: Config, artifacts: Artifacts, store: Path, version: str, golden: list[Golden], usd_per_hour: Decimal
) -> Path:
    """Write the version whole, then point `current` at it.

    Raises `Refused` where it exists, does not fit, or agrees with its teacher no better than one word would.
    """
    folder = store / config.name / version
    if folder.exists():
        raise Refused(f"{folder} exists: versions are never changed, publish another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        staged = Path(part) / version
        (staged / "adapter").mkdir(parents=True)
        for name in ADAPTER_FILES:
            shutil.copyfile(artifacts.folder / "finetune" / "adapter" / name, staged / "adapter" / name)
        manifest = _manifest(config, artifacts, version, golden, usd_per_hour, staged / "adapter")
        write_json(staged / MANIFEST, manifest.model_dump(mode="json"))
        (staged / "README.md").write_text(model_card(manifest, _reports(artifacts)))
        for path in staged.rglob("*"):
            if path.is_file() and path.stat().st_size > SIZE_LIMIT:
                raise Refused(f"{path.name} has {path.stat().st_size} bytes, {SIZE_LIMIT} allowed")
        staged.rename(folder)
    pointer = store / f".{CURRENT}"
    pointer.write_text(f"{config.name}/{version}\n")
    pointer.replace(store / CURRENT)
    return folder


def _manifest(
    config: Config, artifacts: Artifacts, version: str, golden: list[Golden], usd_per_hour: Decimal, adapter: Path
) -> Manifest:
    labels, tuned = artifacts.manifest("label"), artifacts.manifest("finetune")
    if labels["fingerprint"] != fingerprint():
        raise Refused(f"labels are of contract {labels['fingerprint']}, the code's is {fingerprint()}")
    reports = _reports(artifacts)
    for name, report in reports.items():
        commonest = report["majority_baseline"]
        if report["agreement"]["low"] <= commonest["value"]:
            raise Refused(f"{name}: no better than always saying {commonest['action']} ({commonest['value']})")
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
        data={
            "seed": config.dataset.seed,
            "options": config.dataset.options,
            "pairs": tuned["pairs"],
            "tokens": tuned["tokens"],
            "balance": labels["balance"],
            "tickers": {name: artifacts.manifest("dataset")[name]["tickers"] for name in ("train", "test")},
            "train_seconds": tuned["seconds"],
        },
        quantisation=config.quantise.model_dump(),
        evaluation={name: Agreement.model_validate(report["agreement"]) for name, report in reports.items()},
        capacity=_capacity(reports, usd_per_hour),
        golden=golden,
    )


def _reports(artifacts: Artifacts) -> dict[str, Any]:
    """Evaluation reports of the run, by what was evaluated, such as "full-awq"."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(artifacts.stage("evaluate").glob("*.json"))}


def _capacity(reports: dict[str, Any], usd_per_hour: Decimal) -> Capacity | None:
    """Capacity as the full answers' evaluation measured it: mostly written tokens, so the dearer figure."""
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
