"""Stages that train, merge and quantize weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from app.contract import hardware
from training.cli.options import folders, models, store
from training.cli.stage import Stage, base_of, begun
from training.config.quantize import Quantize
from training.config.run import ConfigError


def _finetune(arguments: argparse.Namespace) -> None:
    from training.dataset.lineage import overlaps
    from training.finetune.stage import finetune

    config, artifacts = begun(arguments, "finetune")
    if problems := list(overlaps(config)):
        raise ConfigError("; ".join(problems))
    finetune(config, artifacts, base_of(arguments))


def _qat(arguments: argparse.Namespace) -> None:
    from training.finetune.stage import qat

    qat(*begun(arguments, "qat"), base_of(arguments))


def _merge(arguments: argparse.Namespace) -> None:
    from app.contract.manifest import sha256, verify
    from training.finetune.merge import merge

    config, artifacts = begun(arguments, "merge")
    tuned, folder = artifacts.manifest("qat" if config.qat else "finetune"), artifacts.stage("merge")
    adapter = artifacts.adapter
    verify(adapter, {"adapter_model.safetensors": tuned["adapter_sha256"]})
    merge(base_of(arguments), adapter, folder / "weights")
    if config.quantize.search:
        from training.finetune.calibration import calibrate

        calibrate(folder / "weights", config.quantize, folder / "calibration.json")
    weights = {path.name: sha256(path) for path in sorted((folder / "weights").glob("*.safetensors"))}
    artifacts.complete("merge", {"base": config.base.name, "weights": weights})


def _quantize_options(parser: argparse.ArgumentParser) -> None:
    folders(parser, "--merged", "--out")
    parser.add_argument("--calibration", type=Path, help="token ids of samples; required for a search")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON of the config's [quantize]")


def _quantize(arguments: argparse.Namespace) -> None:
    settings = Quantize.model_validate(arguments.settings)
    if not settings.search:
        from training.quantize.awq import quantize_folder

        return quantize_folder(arguments.merged, settings, arguments.out)
    from training.quantize.autoawq import quantize

    if arguments.calibration is None:
        raise ValueError("a search for scales needs --calibration")
    return quantize(arguments.merged, json.loads(arguments.calibration.read_text())["ids"], settings, arguments.out)


def _dequantize_options(parser: argparse.ArgumentParser) -> None:
    folders(parser, "--quantized", "--out")


def _dequantize(arguments: argparse.Namespace) -> None:
    from training.quantize.awq import dequantize_folder

    dequantize_folder(arguments.quantized, arguments.out)


def _build_options(parser: argparse.ArgumentParser) -> None:
    models(parser)
    store(parser)
    parser.add_argument("--quantize-python", type=Path, default=Path(".envs/quantise/bin/python"))
    forms = get_args(hardware.WeightFormat)
    text = "form of the weights; by default the one that this machine serves"
    parser.add_argument("--weights", choices=forms, help=text)


def _build(arguments: argparse.Namespace) -> None:
    from training.build import build

    wanted = arguments.weights or hardware.profile().weights
    print(build(arguments.store, arguments.models, arguments.quantize_python, wanted))


STAGES = (
    Stage("finetune", _finetune, "LoRA on the labelled answers", models),
    Stage("qat", _qat, "continue training the adapter with weights rounded to 4 bits", models),
    Stage("merge", _merge, "adapter into the bf16 base", models),
    Stage("quantize", _quantize, "4-bit AWQ of merged weights", _quantize_options, reads_run=False),
    Stage("dequantize", _dequantize, "4-bit AWQ dequantized to float32", _dequantize_options, reads_run=False),
    Stage("build", _build, "weights of the store's current version, for serving here", _build_options, reads_run=False),
)
