"""LoRA: the base learns the labelled answers; loss on the answer's tokens only."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from transformers.trainer_utils import EvalPrediction, get_last_checkpoint

from app.contract.manifest import sha256
from training import examples
from training.artifacts import Artifacts
from training.config import Config


def finetune(config: Config, artifacts: Artifacts, base: Path) -> None:
    """Train the adapter into the stage's folder; a run that was cut off goes on from its last checkpoint."""
    labels, folder = artifacts.folder / "label", artifacts.stage("finetune")
    artifacts.manifest("label")
    tokenizer = AutoTokenizer.from_pretrained(base)
    train, validation = (
        examples.load(labels / f"{name}.jsonl", tokenizer, config.finetune.max_length)
        for name in ("train", "validation")
    )
    start = time.time()
    trainer = AnswerTrainer(
        model=_with_adapter(config, base),
        args=_arguments(config, folder / "checkpoints"),
        train_dataset=examples.Rows(train),
        eval_dataset=examples.Rows(validation),
        data_collator=partial(examples.collate, pad=tokenizer.pad_token_id),
        compute_metrics=_agreement,
    )
    trainer.train(resume_from_checkpoint=_last(folder / "checkpoints"))
    trainer.save_model(str(folder / "adapter"))
    artifacts.complete(
        "finetune",
        {
            "config": config.finetune.model_dump(),
            "base": json.loads((base / "base.json").read_text()),
            "adapter_sha256": sha256(folder / "adapter" / "adapter_model.safetensors"),
            "pairs": len(train),
            "tokens": sum(len(e.prompt) + len(e.answer) for e in train),
            "seconds": round(time.time() - start, 1),
            "history": trainer.state.log_history,
        },
    )


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """Logits for the answer's tokens only: a fifth of a small model's work is its vocabulary."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,  # noqa: ARG002 - the trainer passes it
    ) -> Any:
        """Mean over the pairs of the mean over each answer's tokens, so that long answers do not drown short ones."""
        places, labels = inputs["places"], inputs["labels"]
        logits = model(input_ids=inputs["input_ids"], logits_to_keep=places, use_cache=False).logits
        targets = labels[:, places]
        losses = torch.nn.functional.cross_entropy(
            logits.float().transpose(1, 2), targets, ignore_index=-100, reduction="none"
        )
        loss = (losses.sum(1) / (targets != -100).sum(1)).mean()
        if not return_outputs:
            return loss
        rows, action = torch.arange(len(labels)), torch.searchsorted(places, inputs["action_at"])
        return loss, {"actions": torch.stack([logits[rows, action].argmax(-1), targets[rows, action]], 1)}


def _agreement(predictions: EvalPrediction) -> dict[str, float]:
    """Share of actions that are the teacher's, the answer up to the action being given."""
    actions = predictions.predictions
    return {"agreement": float((actions[:, 0] == actions[:, 1]).mean())}


def _with_adapter(config: Config, base: Path) -> Any:
    settings = config.finetune
    torch.manual_seed(settings.seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def _arguments(config: Config, folder: Path) -> TrainingArguments:
    settings = config.finetune
    return TrainingArguments(
        output_dir=str(folder),
        seed=settings.seed,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        eval_strategy="steps",
        eval_steps=settings.evaluate_every,
        save_steps=settings.save_every,
        save_total_limit=2,
        logging_steps=5,
        report_to=[],
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _last(checkpoints: Path) -> str | None:
    return get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None
