"""LoRA training on labelled answers, with the loss on the answer tokens that decide and on the votes that lead there.

Two stages: `finetune`, and, if configured, `qat`, which continues with weights rounded to 4 bits.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import AutoTokenizer, EarlyStoppingCallback, TrainerCallback
from transformers.trainer_utils import EvalPrediction

from app.contract.manifest import read, sha256, verify
from training.artifacts import Artifacts, read_json, write_bytes
from training.config.finetune import Finetune
from training.config.quantize import Quantize
from training.config.run import Config
from training.dataset.data_card import complete_card, token_lengths
from training.finetune import examples
from training.finetune.arguments import arguments
from training.finetune.base import require_memory
from training.finetune.early_stopping import require_evaluations
from training.finetune.examples import Example
from training.finetune.history import draw
from training.finetune.memory import GIB
from training.finetune.merged_forward import MergedForward
from training.finetune.model import with_adapter
from training.finetune.step_loss import StepLoss
from training.finetune.supervision import label_tokens
from training.finetune.tokens import padding
from training.finetune.trainer import AnswerTrainer
from training.precision import training_dtype, training_machine


def finetune(config: Config, artifacts: Artifacts, base: Path) -> None:
    """Train a new adapter, or continue a published version's; see `_train`."""
    start = config.finetune.continue_from
    if start:
        verify(start / "adapter", read(start).adapter)
    _train("finetune", config.finetune, artifacts, base, start and start / "adapter")


def qat(config: Config, artifacts: Artifacts, base: Path) -> None:
    """Continue training the first stage's adapter with weights rounded as they will be stored; see `_train`."""
    if config.qat is None:
        raise ValueError(f"{config.name} has no [qat]")
    start, tuned = artifacts.folder / "finetune" / "adapter", artifacts.manifest("finetune")
    verify(start, {"adapter_model.safetensors": tuned["adapter_sha256"]})
    _train("qat", config.qat, artifacts, base, start, config.quantize)


def _train(
    stage: Literal["finetune", "qat"],
    settings: Finetune,
    artifacts: Artifacts,
    base: Path,
    start: Path | None,
    rounding: Quantize | None = None,
) -> None:
    """Train the adapter into the stage's folder, resuming from the last checkpoint if there is one.

    Under `accelerate launch` every process runs this on its share of the pairs; the first one writes.
    """
    folder = artifacts.stage(stage)
    artifacts.manifest("label")
    require_memory(base, settings, rounding is not None)
    tokenizer = AutoTokenizer.from_pretrained(base)
    train, validation, lengths = _examples(settings, artifacts, tokenizer)
    rows = examples.packed(train, settings.max_length) if settings.packing else examples.table(train)
    require_evaluations(settings, len(rows))
    model = with_adapter(settings, base, start)
    trainer = _trainer(settings, model, tokenizer, rows, examples.table(validation), rounding, folder)
    trainer.train(resume_from_checkpoint=_latest_checkpoint(folder / "checkpoints"))
    trainer.save_model(str(folder / "adapter"))
    if not trainer.is_world_process_zero():
        return
    write_bytes(folder / "curve.png", draw(trainer.state.log_history))
    adapter = sha256(folder / "adapter" / "adapter_model.safetensors")
    record = _record(trainer, settings, base, train)
    artifacts.complete(stage, {"adapter_sha256": adapter, "token_lengths": lengths, **record})
    if stage == "finetune" and artifacts.done("dataset"):
        complete_card(artifacts, lengths)


def _record(trainer: AnswerTrainer, settings: Finetune, base: Path, train: list[Example]) -> dict[str, Any]:
    """Return the manifest's entries of a finished training."""
    history, devices = trainer.state.log_history, trainer.args.world_size
    seconds, machine = history[-1]["seconds"], training_machine()
    return {
        "config": settings.model_dump(mode="json"),
        "continued_from": str(settings.continue_from) if settings.continue_from else None,
        "base": read_json(base / "base.json"),
        "pairs": len(train),
        "tokens": sum(len(e.prompt) + len(e.answer) for e in train),
        "seconds": seconds,
        "devices": devices,
        "machine": str(machine),
        "device": "gpu" if machine.gpus else "cpu",
        "dtype": str(training_dtype()).removeprefix("torch."),
        "gpu_peak_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if torch.cuda.is_available() else None,
        "usd_per_hour": str(settings.usd_per_hour),
        "cost_usd": str(cost(seconds, devices, settings.usd_per_hour)),
        "history": history,
    }


def _trainer(
    settings: Finetune,
    model: Any,
    tokenizer: Any,
    rows: Dataset,
    validation: Dataset,
    rounding: Quantize | None,
    folder: Path,
) -> AnswerTrainer:
    callbacks: list[TrainerCallback] = [EarlyStoppingCallback(settings.patience)] if settings.patience else []
    if rounding:
        callbacks.append(MergedForward(model, rounding.group_size, rounding.keep))
    elif training_dtype() == torch.float32 and not settings.dropout:  # bf16 would round the sum in each step
        callbacks.append(MergedForward(model))
    buy, sell = label_tokens(tokenizer, "buy", "sell")
    trainer = AnswerTrainer(
        model=model,
        args=arguments(settings, folder / "checkpoints"),
        train_dataset=rows,
        eval_dataset=validation,
        processing_class=tokenizer,
        data_collator=partial(examples.collate, pad=padding(tokenizer)),
        compute_metrics=_agreement,
        callbacks=callbacks,
        step_loss=StepLoss(model, buy, sell, settings.steps) if settings.steps else None,
    )
    if trainer.args.fp16:
        _cast_adapter_to_float32(trainer.model)
    return trainer


def _cast_adapter_to_float32(model: Any) -> None:
    """Cast the adapter to float32 under float16, where steps would underflow and TRL would cast QLoRA's to bf16."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _examples(
    settings: Finetune, artifacts: Artifacts, tokenizer: Any
) -> tuple[list[Example], list[Example], dict[str, Any]]:
    """Return training pairs, validation pairs and the training pairs' token lengths by detail."""
    labels = artifacts.folder / "label"
    rows = examples.first(settings.pairs, labels / "train.jsonl")
    train = [examples.encode(row, tokenizer, settings.max_length, settings.soft) for row in rows]
    lengths = token_lengths((r["detail"], len(e.prompt), len(e.answer)) for r, e in zip(rows, train, strict=True))
    validation = examples.load(labels / "validation.jsonl", tokenizer, settings.max_length)[: settings.validation_pairs]
    return train, validation, lengths


def cost(seconds: float, devices: int, usd_per_hour: Decimal) -> Decimal:
    """Return USD for `devices` at `usd_per_hour` each, rounded to 0.0001."""
    return (Decimal(str(seconds)) * devices * usd_per_hour / 3600).quantize(Decimal("0.0001"))


def _agreement(predictions: EvalPrediction) -> dict[str, float]:
    """Return the share of actions equal to the teacher's, given the answer up to the action."""
    actions = predictions.predictions
    return {"agreement": float((actions[:, 0] == actions[:, 1]).mean())}


def _latest_checkpoint(checkpoints: Path) -> str | None:
    """Return the newest complete checkpoint; its state is written last."""
    complete = [path for path in checkpoints.glob("checkpoint-*") if _is_complete(path / "trainer_state.json")]
    return str(max(complete, key=lambda path: int(path.name.rpartition("-")[2]))) if complete else None


def _is_complete(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
