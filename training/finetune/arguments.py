"""The trainer's settings of a configured training, on this machine."""

from __future__ import annotations

from pathlib import Path

import torch
from trl import SFTConfig

from training.config.finetune import Finetune
from training.precision import training_dtype


def arguments(settings: Finetune, folder: Path) -> SFTConfig:
    """Return the trainer's settings; rows are tokenized already, so it neither prepares nor truncates them.

    Mixed precision is set explicitly, because TRL defaults to bf16 on every machine. A process uses one GPU, also where
    it sees several: the trainer would split each batch among them (`DataParallel`), and they would count as one device.
    """
    gpu, dtype = torch.cuda.is_available(), training_dtype()
    given = SFTConfig(
        output_dir=str(folder),
        seed=settings.seed,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        label_names=["labels"],
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        gradient_checkpointing=settings.checkpointing,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        train_sampling_strategy="random" if settings.packing else "group_by_length",
        eval_strategy="steps",
        eval_steps=settings.evaluate_every,
        save_steps=settings.evaluate_every if settings.patience else settings.save_every,
        save_total_limit=2,
        load_best_model_at_end=settings.patience is not None,
        metric_for_best_model="loss" if settings.patience else None,
        logging_steps=5,
        report_to=[],
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
    )
    given._n_gpu = min(given.n_gpu, 1)
    return given
