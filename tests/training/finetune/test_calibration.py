"""What quantization is calibrated with: prompts as they are served, and their answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")

from app.contract import rule_based_analyst as rules  # noqa: E402
from tests.training.conftest import BASE  # noqa: E402
from training.config import Quantize  # noqa: E402
from training.finetune.calibration import calibrate  # noqa: E402


def test_calibration_alternates_details_and_cuts_what_is_long(tmp_path: Path) -> None:
    if not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    calibrate(BASE, Quantize(bits=4, group_size=32, samples=4, max_length=400), tmp_path / "calibration.json")
    written = json.loads((tmp_path / "calibration.json").read_text())
    assert written["teacher"] == rules.MODEL_ID
    brief, full = written["ids"][::2], written["ids"][1::2]
    assert all(len(ids) < 400 for ids in brief)
    assert all(len(ids) == 400 for ids in full)
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    assert all(tokenizer.decode(ids).endswith("}<|im_end|>") for ids in brief)
