"""Early stopping: whether a training has enough evaluations for it."""

from __future__ import annotations

import os
from math import ceil

from training.config.finetune import Finetune


def require_evaluations(settings: Finetune, rows: int) -> None:
    """Raise `ValueError` if a training on so many rows ends before early stopping could, naming a setting that fits.

    It stops at the earliest with `patience` evaluations after the first.
    """
    if settings.patience is None:
        return
    processes, needed = int(os.environ.get("WORLD_SIZE", "1")), settings.patience + 1
    steps = ceil(settings.epochs * ceil(ceil(rows / (settings.batch * processes)) / settings.accumulate))
    if (evaluations := steps // settings.evaluate_every) < needed:
        often = steps // needed
        remedy = f"set evaluate_every = {often} or less" if often else "omit patience, or train on more pairs"
        raise ValueError(
            f"finetune.patience = {settings.patience} needs {needed} evaluations to stop, and {steps} steps with "
            f"evaluate_every = {settings.evaluate_every} have {evaluations}: {remedy}"
        )
