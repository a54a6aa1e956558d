"""Runs in the training environment: adapter and merge at toy size, the same code as for Mistral 7B."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from app.contract.manifest import UnusableModel, sha256
from tests.training.versions import SHIPPED
from training.artifacts import Artifacts, write_json
from training.cli.main import main
from training.config.finetune import Finetune
from training.config.run import Config, load
from training.dataset.stage import build
from training.finetune import examples
from training.finetune.merge import merge
from training.finetune.merged_forward import MergedForward
from training.finetune.model import with_adapter
from training.finetune.record import tuning
from training.finetune.stage import cost, finetune, qat
from training.finetune.trainer import answer_logits, answer_loss
from training.labeling.stage import label
from training.pipeline import launcher
from training.precision import training_dtype, training_machine

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def labelled(config: Config, artifacts: Artifacts, synthetic_market: Path) -> Artifacts:
    build(config, artifacts, synthetic_market)
    label(config, artifacts)
    return artifacts


def changed(config: Config, **settings: Any) -> Config:
    finetune = Finetune.model_validate({**config.finetune.model_dump(), **settings})
    return config.model_copy(update={"finetune": finetune})


def logits(model: Any) -> Any:
    ids = torch.arange(5, 40).unsqueeze(0)
    with torch.no_grad():
        return model(input_ids=ids).logits.float()


def test_the_adapter_is_trained_and_the_merge_predicts_the_same(
    config: Config, labelled: Artifacts, toy: Path, tmp_path: Path
) -> None:
    finetune(changed(config, usd_per_hour="1.89"), labelled, toy)
    manifest = labelled.manifest("finetune")
    assert manifest["pairs"] == 16
    assert manifest["devices"] == 1
    assert manifest["dtype"] == str(training_dtype()).removeprefix("torch.")
    assert manifest["machine"] == str(training_machine())
    assert manifest["device"] == ("gpu" if torch.cuda.is_available() else "cpu")
    assert Decimal(manifest["cost_usd"]) == cost(manifest["seconds"], 1, Decimal("1.89"))
    losses = [entry["loss"] for entry in manifest["history"] if "loss" in entry]
    assert all(float(loss) > 0 for loss in losses)
    assert (labelled.folder / "finetune" / "curve.png").read_bytes().startswith(b"\x89PNG")
    adapter = labelled.adapter
    assert manifest["adapter_sha256"] == sha256(adapter / "adapter_model.safetensors")

    load = transformers.AutoModelForCausalLM.from_pretrained
    untuned = logits(load(toy, dtype=training_dtype()))
    adapted = logits(peft.PeftModel.from_pretrained(load(toy, dtype=training_dtype()), adapter))
    merge(toy, adapter, tmp_path / "merged")
    merged = logits(load(tmp_path / "merged", dtype=training_dtype()))
    invalidate = (adapted - untuned).abs().max()
    assert invalidate > 0
    assert (merged - adapted).abs().max() < max(0.02, float(invalidate))
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["architectures"] == ["MistralForCausalLM"]


def test_a_published_adapter_is_trained_on(config: Config, labelled: Artifacts, toy: Path, tmp_path: Path) -> None:
    finetune(config, labelled, toy)
    published, second = tmp_path / "published", Artifacts(tmp_path / "second")
    shutil.copytree(labelled.adapter, published / "adapter")
    shutil.copytree(labelled.folder / "label", second.folder / "label")
    adapter = {"adapter_model.safetensors": sha256(labelled.adapter / "adapter_model.safetensors")}
    write_json(published / "manifest.json", {**json.loads(SHIPPED.read_text()), "adapter": adapter})
    again = changed(config, continue_from=published, learning_rate=1e-9)
    finetune(again, second, toy)
    assert second.manifest("finetune")["continued_from"] == str(published)

    def adapted(artifacts: Artifacts) -> Any:
        base = transformers.AutoModelForCausalLM.from_pretrained(toy, dtype=training_dtype())
        return logits(peft.PeftModel.from_pretrained(base, artifacts.adapter))

    torch.testing.assert_close(adapted(labelled), adapted(second), rtol=0, atol=0.01)

    (published / "adapter" / "adapter_model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UnusableModel, match="is not what was published"):
        finetune(again, Artifacts(shutil.copytree(second.folder / "label", tmp_path / "third" / "label").parent), toy)


def test_early_stopping_that_could_not_happen_is_refused(config: Config, labelled: Artifacts, toy: Path) -> None:
    with pytest.raises(ValueError, match=r"finetune\.patience = 2 needs 3 evaluations .* 8 steps .* have 0"):
        finetune(changed(config, patience=2), labelled, toy)
    assert not (labelled.folder / "finetune" / "checkpoints").exists()


def test_packed_rows_train_as_well(config: Config, labelled: Artifacts, toy: Path) -> None:
    finetune(changed(config, packing=True, batch=1, soft=False, steps=0), labelled, toy)
    steps = labelled.manifest("finetune")["history"][-1]["step"]
    assert 0 < steps < 16


def test_training_that_gets_no_better_stops(config: Config, labelled: Artifacts, toy: Path) -> None:
    finetune(changed(config, epochs=40, batch=8, learning_rate=1e-30, evaluate_every=2, patience=2), labelled, toy)
    assert len(evaluations(labelled)) == 3


def test_the_best_adapter_is_kept(config: Config, labelled: Artifacts, toy: Path) -> None:
    finetune(
        changed(config, epochs=4, batch=8, learning_rate=3.0, warmup=0, evaluate_every=2, patience=2), labelled, toy
    )
    losses = evaluations(labelled)
    best = min(losses, key=lambda step: losses[step])
    kept = labelled.folder / "finetune" / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors"
    assert (labelled.adapter / kept.name).read_bytes() == kept.read_bytes()


def evaluations(run: Artifacts) -> dict[int, float]:
    """Return the validation losses by step."""
    history = run.manifest("finetune")["history"]
    return {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}


def test_fewer_validation_pairs_are_the_first_ones(config: Config, labelled: Artifacts, toy: Path) -> None:
    few = changed(config, validate=3, learning_rate=1e-9, evaluate_every=4)
    finetune(few, labelled, toy)
    path = labelled.folder / "label" / "validation.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    second = Artifacts(labelled.folder.parent / "second")
    shutil.copytree(labelled.folder / "label", second.folder / "label")
    finetune(changed(config, learning_rate=1e-9, evaluate_every=4), second, toy)
    losses = [
        [entry["eval_loss"] for entry in run.manifest("finetune")["history"] if "eval_loss" in entry]
        for run in (labelled, second)
    ]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0]


def test_training_continues_with_rounded_weights(config: Config, labelled: Artifacts, toy: Path) -> None:
    settings = {**config.finetune.model_dump(), "pairs": {"brief": 6, "full": 2}, "usd_per_hour": "3600"}
    config = Config.model_validate({**config.model_dump(), "qat": settings})
    with pytest.raises(FileNotFoundError, match="stage finetune is not complete"):
        qat(config, labelled, toy)
    finetune(config, labelled, toy)
    first = labelled.adapter
    qat(config, labelled, toy)
    assert labelled.adapter == labelled.folder / "qat" / "adapter"
    assert sha256(labelled.adapter / "adapter_model.safetensors") != sha256(first / "adapter_model.safetensors")
    stages = [labelled.manifest(name) for name in ("finetune", "qat")]
    assert [stage["pairs"] for stage in stages] == [16, 8]
    both = tuning(labelled)
    assert both["adapter_sha256"] == sha256(labelled.adapter / "adapter_model.safetensors")
    assert both["tokens"] == sum(stage["tokens"] for stage in stages)
    assert both["seconds"] == pytest.approx(sum(stage["seconds"] for stage in stages))
    assert Decimal(both["cost_usd"]) == sum(Decimal(stage["cost_usd"]) for stage in stages) > 0
    steps = [entry["step"] for entry in both["history"]]
    assert steps == sorted(steps)
    assert steps[-1] == sum(stage["history"][-1]["step"] for stage in stages)


def test_what_rounded_training_judged_is_the_adapter_it_leaves_rounded(
    config: Config, labelled: Artifacts, toy: Path
) -> None:
    settings = {**config.finetune.model_dump(), "learning_rate": 1e-2, "evaluate_every": 4}
    config = Config.model_validate({**config.model_dump(), "qat": settings})
    finetune(config, labelled, toy)
    qat(config, labelled, toy)
    judged = [entry["eval_loss"] for entry in labelled.manifest("qat")["history"] if "eval_loss" in entry][-1]
    model = with_adapter(Finetune.model_validate(settings), toy, labelled.adapter)
    MergedForward(model, config.quantize.group_size)
    tokenizer = transformers.AutoTokenizer.from_pretrained(toy)
    rows = list(examples.table(examples.load(labelled.folder / "label" / "validation.jsonl", tokenizer, 1024)))
    with torch.no_grad():
        batches = [examples.collate([row], tokenizer.pad_token_id) for row in rows]
        losses = [answer_loss(answer_logits(model, batch), batch).item() for batch in batches]
    assert judged == pytest.approx(sum(losses) / len(losses), rel=0.01)


def test_more_pairs_than_there_are_is_an_error(config: Config, labelled: Artifacts, toy: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.jsonl has too few pairs: {'full': 3} more"):
        finetune(changed(config, pairs={"brief": 12, "full": 7}), labelled, toy)


def test_four_bit_training_asks_for_a_gpu(config: Config, labelled: Artifacts, toy: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"finetune\.qlora: .* GPU"):
        finetune(changed(config, qlora=True), labelled, toy)
    assert not labelled.done("finetune")


def words(config_file: Path, runs: Path, models: Path) -> list[str]:
    return ["finetune", "--config", str(config_file), "--runs", str(runs), "--models", str(models)]


def test_a_killed_run_resumes_to_the_same_adapter(
    config_file: Path, synthetic_market: Path, toy: Path, tmp_path: Path
) -> None:
    text = config_file.read_text().replace("epochs = 1", "epochs = 2").replace("save_every = 10", "save_every = 3")
    config_file.write_text(text.replace("dropout = 0.0", "dropout = 0.1"))
    adapters = []
    for runs in (tmp_path / "whole", tmp_path / "killed"):
        artifacts = Artifacts(runs / "toy")
        build(load(config_file), artifacts, synthetic_market)
        label(load(config_file), artifacts)
        given = words(config_file, runs, tmp_path / "models")
        if runs.name == "killed":
            command = [sys.executable, "-m", "training", *given]
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while not (artifacts.folder / "finetune" / "checkpoints" / "checkpoint-3" / "trainer_state.json").exists():
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert not artifacts.done("finetune")
            (artifacts.folder / "finetune" / "checkpoints" / "checkpoint-1000").mkdir()  # as a kill while saving leaves
        main(given)
        manifest = artifacts.manifest("finetune")
        adapters.append(manifest["adapter_sha256"])
        seconds = [entry["seconds"] for entry in manifest["history"]]
        assert seconds == sorted(seconds)
    assert adapters[0] == adapters[1]


def test_two_processes_share_the_pairs(config_file: Path, synthetic_market: Path, toy: Path, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "runs" / "toy")
    build(load(config_file), artifacts, synthetic_market)
    label(load(config_file), artifacts)
    given = words(config_file, tmp_path / "runs", tmp_path / "models")
    command = [sys.executable, "-m", *launcher(2), *given]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = artifacts.manifest("finetune")
    assert manifest["devices"] == 2
    assert manifest["history"][-1]["step"] == 4  # 16 pairs, two at a time in each of two processes
