"""Non-padding tokens a second of fine-tuning, beside TRL's trainer with its defaults: same base, adapter and pairs.

    .envs/training/bin/python -m bench.training --market FOLDER

Rounds alternate, each one epoch over the same pairs in the mix of the run; the ratio is of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from app.contract.prompt import messages
from training.artifacts import Artifacts, read_rows
from training.cli.options import DEFAULT_CONFIG
from training.config.run import Config, load
from training.dataset.stage import build
from training.finetune import examples
from training.finetune.arguments import arguments
from training.finetune.base import prepare
from training.finetune.model import with_adapter
from training.finetune.tokens import padding
from training.finetune.trainer import AnswerTrainer
from training.labeling.prompts import metrics_of
from training.labeling.stage import label
from training.precision import training_dtype


def ours(config: Config, base: Path, rows: list[dict[str, Any]], tokenizer: Any, out: Path) -> float:
    settings = config.finetune.model_copy(update={"epochs": 1, "evaluate_every": 10**6, "save_every": 10**6})
    dataset = examples.table([examples.encode(row, tokenizer, settings.max_length) for row in rows])
    trainer = AnswerTrainer(
        model=with_adapter(settings, base),
        args=arguments(settings, out),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=tokenizer,
        data_collator=partial(examples.collate, pad=padding(tokenizer)),
    )
    return timed(trainer)


def theirs(config: Config, base: Path, rows: list[dict[str, Any]], tokenizer: Any, out: Path) -> float:
    """Train as TRL's documentation does: prompt-completion rows, its own loss, collator and settings."""
    settings = config.finetune
    conversations = [
        {
            "prompt": messages(metrics_of(row), row["ticker"], row["detail"]),
            "completion": [{"role": "assistant", "content": row["answer"]}],
        }
        for row in rows
    ]
    lora = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=str(base),
        args=SFTConfig(
            output_dir=str(out),
            num_train_epochs=1,
            report_to=[],
            save_strategy="no",
            bf16=training_dtype() == torch.bfloat16,  # the default, 50 times slower on a CPU that lacks it
            use_cpu=not torch.cuda.is_available(),  # SFTConfig does not set this without a GPU
        ),
        train_dataset=Dataset.from_list(conversations),
        processing_class=tokenizer,
        peft_config=lora,
    )
    return timed(trainer)


def labelled(config: Config, market: Path, count: int) -> list[dict[str, Any]]:
    """Return the first pairs of the run, with its mix of brief and full."""
    train = config.dataset.train
    share = count / (train.brief + train.full)
    fewer = train.model_copy(update={"brief": round(train.brief * share), "full": round(train.full * share)})
    few = config.dataset.validation.model_copy(update={"brief": 1, "full": 1})
    test = config.dataset.test.model_copy(update={"brief": 1, "full": 1})
    dataset = config.dataset.model_copy(update={"train": fewer, "validation": few, "test": test})
    with tempfile.TemporaryDirectory() as folder:
        small, artifacts = config.model_copy(update={"dataset": dataset}), Artifacts(Path(folder))
        build(small, artifacts, market)
        label(small, artifacts)
        return list(read_rows(Path(folder) / "label" / "train.jsonl"))


def timed(trainer: Any) -> float:
    """Return the seconds of training without preparation."""
    start = time.monotonic()
    trainer.train()
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--market", type=Path, required=True, help="folder of ohlcv*.parquet files")
    parser.add_argument("--models", type=Path, default=Path(".models"))
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    config = load(given.config)
    base = prepare(config.base, given.models / "bases" / config.base.name)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = labelled(config, given.market, given.pairs)
    pairs = [examples.encode(row, tokenizer, config.finetune.max_length) for row in rows]
    tokens = sum(len(pair.prompt) + len(pair.answer) for pair in pairs)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{len(os.sched_getaffinity(0))} cores"
    print(f"{len(rows)} pairs, {tokens} tokens without padding, {base.name}, {device}", flush=True)
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(given.rounds):
        for name, train in (("ours", ours), ("theirs", theirs)):
            with tempfile.TemporaryDirectory() as out:
                speeds[name].append(tokens / train(config, base, rows, tokenizer, Path(out)))
            print(f"round {number + 1}: {name:6} {speeds[name][-1]:7.0f} tokens/s", flush=True)
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["theirs"], strict=True)]
    print(f"ratio    median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    if torch.cuda.is_available():
        print(f"memory   {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
