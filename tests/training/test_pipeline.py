"""The order of a run's stages, by interpreters that write down their commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.hardware import Profile
from app.contract.machine import Machine
from tests.training.machines import AVX2, AVX512, profile_of
from tests.training.runs import complete
from training import pipeline
from training.artifacts import Artifacts, read_json, write_json
from training.cli.main import main
from training.config.run import Config
from training.pipeline import launcher, run
from training.plan import CannotRun, Environments, Target

STUB = """#!/bin/sh
echo "$(basename "$(dirname "$(dirname "$0")")") $*" >> {log}
shift 2
stage=$1
calibrated=null
case "$*" in *"--calibrated"*brief*) calibrated='{fitted}' ;; esac
while [ $# -gt 0 ]; do
    case $1 in --out) out=$2 ;; --form) form=$2 ;; --dtype) dtype=$2 ;; --runs) runs=$2 ;; esac
    shift
done
if [ -n "$form" ]; then
    mkdir -p "$(dirname "$out")"
    echo '{{"served": {{"form": "'$form'", "dtype": "'$dtype'"}}, "calibrated": '"$calibrated"'}}' > "$out"
fi
if [ "$stage" = calibrate ]; then
    echo '{calibrations}' > "$runs/toy/calibrate/manifest.json"
fi
"""
"""Notes its environment's name and its arguments; leaves the evaluation that `--out` names, and calibrations."""


FITTED = {"temperature": 1.5, "bias": {"buy": 0.1, "sell": 0.2, "hold": -0.3}}


class Running:
    """A run with stubs for interpreters, and for vLLM a URL."""

    def __init__(self, config: Config, artifacts: Artifacts, market: Path, folder: Path) -> None:
        calibrations = json.dumps({"brief": {"calibration": FITTED}})
        self.config, self.artifacts, self.market, self.folder = config, artifacts, market, folder
        self.served: list[tuple[Path, Profile, Path | None]] = []
        self.log = folder / "commands.log"
        for name in ("training", "quantize", "vllm"):
            python = self.python(name)
            python.parent.mkdir(parents=True)
            python.write_text(STUB.format(log=self.log, calibrations=calibrations, fitted=json.dumps(FITTED)))
            python.chmod(0o755)

    def python(self, name: str) -> Path:
        return self.folder / ".envs" / name / "bin" / "python"

    @contextmanager
    def serve(
        self, python: Path, weights: Path, model_id: str, log: Path, profile: Profile, adapter: Any
    ) -> Iterator[str]:
        self.served.append((weights.relative_to(self.folder), profile, adapter))
        yield "http://vllm"

    def run(self, machine: Machine) -> list[list[str]]:
        """The interpreters' commands: environment, arguments."""
        for stage in ("dataset", "label", "finetune", "merge"):
            if not self.artifacts.done(stage):
                complete(self.config, self.artifacts, stage, weights={})
        run(
            self.folder / "toy.toml",
            self.config,
            self.artifacts,
            market=self.market,
            environments=Environments(*map(self.python, ("training", "quantize", "vllm"))),
            models=self.folder / ".models",
            target=Target(self.folder / "store", "1", Decimal("0.1")),
            profile=profile_of(machine),
        )
        return [line.replace("-m training ", "").split() for line in self.log.read_text().splitlines()]


@pytest.fixture
def running(
    config: Config, artifacts: Artifacts, synthetic_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Running:
    it = Running(config, artifacts, synthetic_market, tmp_path)
    monkeypatch.setattr(pipeline, "serve", it.serve)
    return it


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def unsearched(running: Running) -> None:
    quantize = running.config.quantize.model_copy(update={"search": False})
    running.config = running.config.model_copy(update={"quantize": quantize})


def test_with_a_kernel_for_4_bits_they_are_served_as_they_are(running: Running) -> None:
    unsearched(running)
    commands = running.run(AVX512)
    assert [words[1] for words in commands] == [
        "quantize",
        *["evaluate"] * 6,
        "calibrate",
        *["evaluate"] * 2,
        "report",
        "publish",
    ]
    assert {words[0] for words in commands} == {"training"}
    assert "--calibration" not in commands[0]
    runs = Path("runs/toy")
    assert [weights for weights, _, _ in running.served] == [
        *[Path(".models/bases/Toy")] * 2, runs / "merge/weights", runs / "quantize/weights",
    ]  # fmt: skip
    evaluated = [(after(words, "--form"), after(words, "--dtype")) for words in commands if words[1] == "evaluate"]
    assert sorted(set(evaluated)) == [(form, "bfloat16") for form in ("adapter", "awq", "base", "merged")]


def test_without_one_they_are_dequantized_once_and_those_are_served(running: Running) -> None:
    unsearched(running)
    commands = running.run(AVX2)
    assert [words[1] for words in commands][:2] == ["quantize", "dequantize"]
    quantized, multiplied_out = (running.artifacts.folder / name / "weights" for name in ("quantize", "dequantize"))
    assert commands[1][2:] == ["--quantized", str(quantized), "--out", str(multiplied_out)]
    last, profile, _ = running.served[-1]
    assert last == Path("runs/toy/dequantize/weights")
    assert profile.dtype == "float32"
    shipped = [words for words in commands if words[1] == "evaluate"][-1]
    assert (after(shipped, "--form"), after(shipped, "--dtype")) == ("dequantized", "float32")
    assert shipped[-1].endswith("full-awq.json")
    before = len(commands)
    assert [words[1] for words in running.run(AVX2)][before:] == ["report", "publish"]


def test_the_served_weights_are_calibrated_on_validation_pairs_before_the_test_split(running: Running) -> None:
    unsearched(running)
    commands = [words[1:] for words in running.run(AVX512)]
    at = commands.index(next(words for words in commands if words[0] == "calibrate"))
    for words, detail in zip(commands[at - 2 : at], ("brief", "full"), strict=True):
        assert (after(words, "--split"), after(words, "--detail")) == ("validation", detail)
        assert after(words, "--out") == str(running.artifacts.folder / "calibrate" / f"{detail}-awq.json")
    assert ["--calibrated" in words for words in commands if words[0] == "evaluate"] == [*[False] * 6, True, True]
    before = len(commands)
    assert [words[1] for words in running.run(AVX512)[before:]] == ["report", "publish"]


def test_an_evaluation_with_another_calibration_is_repeated(running: Running) -> None:
    unsearched(running)
    before = len(running.run(AVX512))
    path = running.artifacts.folder / "evaluate" / "brief-awq.json"
    write_json(path, read_json(path) | {"calibrated": None})
    commands = running.run(AVX512)[before:]
    assert [words[1] for words in commands] == ["evaluate", "report", "publish"]
    assert after(commands[0], "--out") == str(path)


def test_a_split_without_pairs_of_a_detail_calibrates_the_other(running: Running) -> None:
    unsearched(running)
    validation = running.config.dataset.validation.model_copy(update={"full": 0})
    dataset = running.config.dataset.model_copy(update={"validation": validation})
    running.config = running.config.model_copy(update={"dataset": dataset})
    commands = running.run(AVX512)
    validated = [after(words, "--detail") for words in commands if "validation" in words]
    assert validated == ["brief"]


def test_a_search_runs_in_autoawq_s_environment_on_what_merging_left_to_calibrate_with(running: Running) -> None:
    commands = running.run(AVX512)
    assert commands[0][:2] == ["quantize", "quantize"]
    assert after(commands[0], "--calibration") == str(running.artifacts.folder / "merge" / "calibration.json")
    assert {words[0] for words in commands[1:]} == {"training"}


def test_the_plan_is_printed_before_the_first_stage(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.run(AVX2)
    message = capsys.readouterr().err
    plan, _, stages = message.partition("== quantize")
    assert "profile   dequantized weights in float32" in plan
    assert "to do     quantize, dequantize, calibrate, evaluate, report, publish" in plan
    assert "== dequantize" in stages


def test_a_changed_setting_is_refused_before_any_work_unless_it_affects_no_complete_stage(running: Running) -> None:
    unsearched(running)
    commands = len(running.run(AVX512))
    whole = running.config
    running.config = whole.model_copy(update={"teacher": whole.teacher.model_copy(update={"name": "openai"})})
    with pytest.raises(CannotRun, match=r'begun with teacher\.name = "rules", the config says "openai"'):
        running.run(AVX512)
    assert len(running.log.read_text().splitlines()) == commands
    evaluate = whole.evaluate.model_copy(update={"concurrency": 3})
    publish = whole.publish.model_copy(update={"max_failures": 0.5})
    running.config = whole.model_copy(update={"evaluate": evaluate, "publish": publish})
    assert [words[1] for words in running.run(AVX512)[commands:]] == ["report", "publish"]


def test_what_cannot_work_is_refused_before_any_work(running: Running) -> None:
    running.python("quantize").unlink()
    with pytest.raises(CannotRun, match=r"`make .*/\.envs/quantize/\.complete`"):
        running.run(AVX512)
    assert not running.log.exists() and running.served == []


@pytest.mark.parametrize(
    ("name", "value", "message"), [("DTYPE", "int8", "must be one of"), ("WEIGHTS", "gguf", "must")]
)
def test_the_command_refuses_a_machine_or_override_in_one_line(
    name: str, value: str, message: str, config_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(f"CONVICTION_{name}", value)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", str(config_file), "--runs", str(tmp_path / "runs"), "--market", str(tmp_path)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"training: CONVICTION_{name} is") and message in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_several_processes_are_started_by_accelerate() -> None:
    assert launcher(1) == ("training",)
    assert launcher(2)[:3] == ("accelerate.commands.launch", "--num_processes", "2")
