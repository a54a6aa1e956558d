"""A rehearsal at toy width: every step in this process, and for vLLM the stand-in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")

from tests.training.families import BY_ARCHITECTURE, family_sentencepiece
from tests.training.machines import AVX512, H200, profile_of
from training.artifacts import read_json, write_json
from training.changes import ChangedConfig
from training.cli.main import main
from training.config.run import Config, load
from training.pipeline import Run
from training.plan import Environments
from training.rehearsal import __main__ as steps
from training.rehearsal.families import Family
from training.rehearsal.stage import Setting, rehearse
from training.server import free_port, running

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "training" / "configs"
TOY = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 2}
STAGES = ["base", "dataset", "label", "finetune", "merge", "quantize", "answer"]


def toy(architecture: str) -> Family:
    family = BY_ARCHITECTURE[architecture]
    return replace(family, config={**family.config, **TOY, "num_key_value_heads": 1})


@pytest.fixture
def large(config: Config) -> Config:
    """The configuration for Mistral, with few short rows of the synthetic market."""
    given = load(CONFIGS / "mistral-7b.toml")
    train = config.dataset.train.model_copy(update={"brief": 4, "full": 2})
    dataset = config.dataset.model_copy(update={"train": train})
    return given.model_copy(
        update={"dataset": dataset, "finetune": given.finetune.model_copy(update={"max_length": 1024})}
    )


@pytest.fixture
def setting(synthetic_market: Path, tmp_path: Path) -> Setting:
    """Environments of which vLLM's has the tokenizers alone."""
    vllm = tmp_path / ".envs" / "vllm"
    data = vllm / "lib" / "python3.11" / "site-packages" / "mistral_common"
    data.mkdir(parents=True)
    (data / "data").symlink_to(family_sentencepiece("mistral").parent)
    python = vllm / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    environments = Environments(Path(sys.executable), tmp_path / ".envs" / "quantise" / "bin" / "python", python)
    return Setting(synthetic_market, environments, AVX512, profile_of(AVX512), tmp_path / "runs", search=False)


@contextmanager
def stand_in(run: Run, system: str) -> Iterator[str]:
    """Serve the stand-in in place of vLLM, which has the 4-bit weights in its command."""
    assert (run.weights("awq") / "config.json").exists() and system == "awq"
    port, log = free_port(), run.artifacts.folder / "stand-in.log"
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "app.cli", "stand-in", "--port", str(port))
    with running("the stand-in", command, {"PYTHONPATH": str(ROOT)}, f"{url}/health", log, 60):
        yield f"{url}/v1"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run stages in this process, where PyTorch is imported already; return their names."""
    ran: list[str] = []

    def stage(run: Run, name: str, *arguments: Any, launcher: tuple[str, ...] = ("training",)) -> None:
        ran.append(name)
        start = time.monotonic()
        try:
            {"training": main, "training.rehearsal": steps.main}[launcher[0]]([name, *map(str, arguments)])
        except SystemExit as ended:
            raise subprocess.CalledProcessError(int(str(ended.code)), name) from ended
        noted = run.artifacts.folder / "stages.json"
        before = read_json(noted) if noted.exists() else {}
        write_json(noted, {**before, name: {"seconds": time.monotonic() - start, "peak_gib": 1.0}})

    monkeypatch.setattr(Run, "stage", stage)
    monkeypatch.setattr(Run, "served", stand_in)
    return ran


def rows(page: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in lines}


def test_every_step_at_two_depths_up_to_an_answer_of_the_gateway(
    large: Config, setting: Setting, here: list[str]
) -> None:
    page = rehearse(large, toy("mistral"), setting, 2)
    assert here == STAGES * 2
    found = rows(page)
    assert found["step"] == ["1 layer", "2 layers", "4 layers", "layers that fit"]
    for name in STAGES:
        assert all("GiB" in cell for cell in found[name][:3]), name
    assert found["merge"][3] == "4"
    assert page == (setting.runs / "mistral-7b.md").read_text()
    folder = setting.runs / "mistral-7b-2-layers"
    adapted = read_json(folder / "finetune" / "adapter" / "adapter_config.json")
    assert adapted["r"] == large.finetune.rank and len(adapted["target_modules"]) == 2 * 7
    assert read_json(folder / "answer" / "manifest.json")["action"] in ("buy", "sell", "hold")
    assert not list(folder.rglob("model*.safetensors")), "weights are left on the disk"

    assert rehearse(large, toy("mistral"), setting, 2) == page
    assert len(here) == 2 * len(STAGES), "complete steps are kept"
    with pytest.raises(ChangedConfig, match=r"quantize\.group_size.* delete \S+-1-layers$"):
        other = large.quantize.model_copy(update={"group_size": 32})
        rehearse(large.model_copy(update={"quantize": other}), toy("mistral"), setting, 2)


def test_a_step_that_fails_leaves_its_reason_and_the_rest_of_the_table(
    large: Config, setting: Setting, tmp_path: Path
) -> None:
    bare = replace(setting.environments, training=Path(sys.executable), vllm=tmp_path / "elsewhere" / "bin" / "python")
    (tmp_path / "empty").mkdir()
    page = rehearse(large, toy("mistral"), replace(setting, environments=bare, market=tmp_path / "empty"), None)
    found = rows(page)
    assert found["base"][:2] == found["dataset"][:2] == ["failed"] * 2
    assert {cell for name in STAGES[2:] for cell in found[name][:2]} == {"not tried"}
    assert f"base: no tokenizer: {tmp_path / 'elsewhere'} has no" in page
    assert f"dataset: {tmp_path / 'empty'}" in page and "Traceback" not in page
    assert "finetune: not tried without base and label" in page
    assert float(found["estimated as configured, in 16 bits"][2]) > 0


def test_more_layers_than_the_base_has_are_refused(large: Config, setting: Setting) -> None:
    with pytest.raises(ValueError, match=r"--layers 5, and Mistral-7B-Instruct-v0\.3 has 4"):
        rehearse(large, toy("mistral"), setting, 5)


def test_a_gpu_rehearses_all_layers(large: Config, setting: Setting, tmp_path: Path) -> None:
    bare = replace(setting.environments, training=tmp_path / "python", vllm=tmp_path / "bin" / "python")
    gpu = replace(setting, machine=H200, profile=profile_of(H200), environments=bare)
    found = rows(rehearse(large, toy("mistral"), gpu, None))
    assert found["step"] == ["1 layer", "4 layers", "layers that fit"]
