"""What quantization is calibrated with: prompts as they are served, and their answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")

from app.contract import rule_based_analyst as rules  # noqa: E402
from tests.training.conftest import BASE  # noqa: E402
from tests.training.families import family_tokenizer  # noqa: E402
from training.artifacts import write_json  # noqa: E402
from training.config.quantize import Quantize  # noqa: E402
from training.config.run import load  # noqa: E402
from training.finetune.calibration import calibrate  # noqa: E402
from training.finetune.examples import TooLong  # noqa: E402

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def test_calibration_alternates_details_with_whole_answers(tmp_path: Path) -> None:
    if not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    calibrate(BASE, Quantize(bits=4, group_size=32, samples=4, max_length=1024), tmp_path / "calibration.json")
    written = json.loads((tmp_path / "calibration.json").read_text())
    assert written["teacher"] == rules.MODEL_ID
    brief, full = written["ids"][::2], written["ids"][1::2]
    assert max(map(len, brief)) < 400 < min(map(len, full))
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    assert all(tokenizer.decode(ids).endswith("}<|im_end|>") for ids in written["ids"])


@pytest.mark.filterwarnings("default")
def test_the_configs_calibrate_with_whole_answers_and_a_shorter_length_is_refused(tmp_path: Path) -> None:
    family_tokenizer("mistral").save_pretrained(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "mistral"})
    settings = load(CONFIGS / "mistral-7b.toml").quantize.model_copy(update={"samples": 16})
    calibrate(tmp_path, settings, tmp_path / "calibration.json")
    ids = json.loads((tmp_path / "calibration.json").read_text())["ids"]
    assert {row[-1] for row in ids} == {2}
    with pytest.raises(TooLong, match="512 allowed"):
        calibrate(tmp_path, settings.model_copy(update={"max_length": 512}), tmp_path / "cut.json")
    assert not (tmp_path / "cut.json").exists()
