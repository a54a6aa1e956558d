"""Runs in the training environment at toy size; a stand-in answers in place of vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StandIn
from training import learning_curve
from training.artifacts import Artifacts, read_json
from training.cli.main import main

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def served(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the weights that were served."""
    folders: list[str] = []

    @contextmanager
    def serve(python: Path, weights: Path, *_: Any) -> Iterator[str]:
        assert (weights / "model.safetensors").exists()
        folders.append(weights.parents[1].name)
        yield stand_in.url

    async def evaluate(url: str, _: None, __: None, *rest: Any) -> Any:
        return await asked(url, None, stand_in.key, *rest)

    asked = learning_curve.evaluate
    monkeypatch.setattr(learning_curve, "serve", serve)
    monkeypatch.setattr(learning_curve, "evaluate", evaluate)
    return folders


def test_one_command_draws_all_curves_on_the_same_pairs_and_resumes(
    served: list[str], config_file: Path, synthetic_market: Path, toy: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = Artifacts(tmp_path / "runs" / "toy")
    words = ["--config", str(config_file), "--runs", str(run.folder.parent), "--models", str(tmp_path / "models")]
    command = ["learning-curve", *words, "--market", str(synthetic_market), "--pairs", "12"]
    main(command)
    main([*command, "--pairs", "8"])
    assert served == ["12", "8"]
    assert capsys.readouterr().out.splitlines()[-1] == str(run.folder / "curve" / "curve.html")
    curves: dict[str, Any] = read_json(run.folder / "evaluate" / "curve.json")
    names = ["the model", "gradient boosting", "logistic regression on readings", "the case study's claim"]
    assert list(curves) == names
    for name in names[:3]:
        assert [(point["pairs"], point["agreement"]["n"]) for point in curves[name]] == [(8, 6), (12, 6)]
    text = (run.folder / "curve" / "curve.md").read_text()
    assert "| 1,000 | - | - | - | 85.0% | - |\n| 20,000 | - | - | - | 100.0% | - |" in text
    assert (run.folder / "curve" / "learning.png").read_bytes().startswith(b"\x89PNG")

    main([*command, "--test-pairs", "4"])
    assert served == ["12", "8", "12"]
    config_file.write_text(config_file.read_text().replace("rank = 4", "rank = 8"))
    with pytest.raises(SystemExit):
        main(command)
    assert f"{run.folder}/curve/12 was begun with finetune.rank = 4, the config says 8" in capsys.readouterr().err


def test_too_large_a_size_is_refused_before_any_work(
    config_file: Path, synthetic_market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(config_file), "--runs", str(tmp_path / "runs"), "--market", str(synthetic_market)]
    with pytest.raises(SystemExit):
        main(["learning-curve", *words, "--pairs", "8", "--pairs", "13"])
    assert "--pairs 13, and dataset.train of" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
