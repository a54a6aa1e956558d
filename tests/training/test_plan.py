from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.hardware import Profile
from tests.training.machines import AVX2, AVX512, H200, profile_of
from tests.training.runs import complete
from tests.training.versions import published
from training.artifacts import Artifacts, write_json
from training.config.run import Config
from training.plan import CannotRun, Environments, Plan, Target

Make = Callable[..., Plan]


@pytest.fixture
def plan(config: Config, artifacts: Artifacts, synthetic_market: Path, tmp_path: Path) -> Make:
    """A plan of the toy run on a machine with AVX-512, all its environments there; `changes` replace parts of it."""
    pythons = {name: tmp_path / ".envs" / name / "bin" / "python" for name in ("training", "quantize", "vllm")}
    for python in pythons.values():
        python.parent.mkdir(parents=True)
        python.touch()

    def make(sections: dict[str, Any] | None = None, profile: Profile | None = None, **changes: Any) -> Plan:
        own = Config.model_validate({**config.model_dump(), **(sections or {})})
        target = Target(tmp_path / "store", "1", Decimal("0.1"))
        known = {"environments": Environments(**pythons), "market": synthetic_market, "target": target, **changes}
        return Plan(own, artifacts, profile or profile_of(AVX512), **known)

    return make


def unsearched(config: Config) -> dict[str, Any]:
    return {"quantize": {**config.quantize.model_dump(), "search": False}}


def test_the_plan_lists_machine_stages_environments_and_how_each_system_is_served(plan: Make, config: Config) -> None:
    made = plan(unsearched(config))
    complete(made.config, made.artifacts, "dataset")
    for detail in ("brief", "full"):
        served = {"form": "merged", "dtype": "bfloat16"}
        write_json(made.artifacts.stage("evaluate") / f"{detail}-merged.json", {"served": served})
    python = made.environments.training
    assert list(made.lines()) == [
        f"toy, version 1, into {made.target.store}",
        "  machine   EPYC (AVX-512), 2 cores, 24 GiB",
        f"  profile   {made.profile}",
        "  complete  dataset",
        "  to do     label, finetune, merge, quantize, calibrate, evaluate, report, publish",
        f"  training  {python}",
        f"  vllm      {made.environments.vllm}",
        "  base      base weights in bfloat16, compiled",
        "  adapter   adapter on its base in bfloat16, eager",
        "  merged    already evaluated",
        "  awq       awq weights in bfloat16, compiled",
    ]


def test_an_evaluation_in_another_dtype_is_done_again(plan: Make) -> None:
    made = plan()
    for dtype, evaluated in (("bfloat16", True), ("float32", False)):
        write_json(made.artifacts.stage("evaluate") / "brief-base.json", {"served": {"form": "base", "dtype": dtype}})
        assert made.is_evaluated("base") is evaluated


def test_without_a_kernel_for_4_bits_they_are_dequantized_and_served_in_float32(plan: Make) -> None:
    made = plan(profile=profile_of(AVX2))
    assert [name for name in made.stages if name.endswith(("tise", "tize", "uate"))] == [
        "quantize", "dequantize", "evaluate"
    ]  # fmt: skip
    assert {str(made.served(system)) for system in ("awq", "merged", "base")} == {
        "dequantized weights in float32, compiled",
        "merged weights in float32, compiled",
        "base weights in float32, compiled",
    }
    assert str(made.served("adapter")) == "adapter on its base in float32, eager"


def test_a_gpu_serves_an_adapter_compiled(plan: Make) -> None:
    assert str(plan(profile=profile_of(H200)).served("adapter")) == "adapter on its base in bfloat16, compiled"


def test_a_possible_run_is_accepted_and_autoawq_is_required_for_a_search_alone(plan: Make, config: Config) -> None:
    plan().require_runnable()
    assert set(plan().interpreters()) == {"training", "quantize", "vllm"}
    made = plan(unsearched(config))
    made.environments.quantize.unlink()
    made.require_runnable()
    with pytest.raises(CannotRun, match=r"quantize/bin/python is missing: `make \S+/\.envs/quantize/\.complete`"):
        plan().require_runnable()
    made = plan()
    complete(made.config, made.artifacts, "quantize")
    plan().require_runnable()


def test_all_that_would_stop_the_run_is_named_in_one_line(plan: Make, config: Config, tmp_path: Path) -> None:
    finetune = {**config.finetune.model_dump(), "qlora": True, "continue_from": "model_store/toy/0"}
    profile = profile_of(AVX2, CONVICTION_DTYPE="float16")
    made = plan({"finetune": finetune}, profile, market=tmp_path / "nowhere")
    made.environments.vllm.unlink()
    (tmp_path / "store" / "toy" / "1").mkdir(parents=True)
    with pytest.raises(CannotRun) as caught:
        made.require_runnable()
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "vllm/bin/python is missing",
        "CONVICTION_DTYPE=float16 trains on a GPU only",
        "nowhere has no ohlcv*.parquet",
        "finetune.qlora needs a GPU",
        "finetune.continue_from, model_store/toy/0, does not exist",
        "store/toy/1 exists, and versions are immutable",
    ):
        assert part in message


def test_a_test_split_that_the_gate_would_refuse_stops_the_run_before_it_starts(plan: Make) -> None:
    publish = {"publish": {"min_pairs": {"brief": 7, "full": 3}}}
    with pytest.raises(CannotRun, match=r"dataset\.test\.brief is 6, and publish\.min_pairs\.brief 7: the gate would"):
        plan(publish).require_runnable()
    target = plan().target
    plan(publish, target=Target(target.store, "1", Decimal(1), ["min_pairs.brief"])).require_runnable()


def test_what_complete_stages_needed_is_no_longer_required(plan: Make, config: Config, tmp_path: Path) -> None:
    finetune = {**config.finetune.model_dump(), "continue_from": "model_store/toy/0"}
    made = plan({"finetune": finetune}, market=tmp_path / "nowhere")
    for name in ("dataset", "finetune"):
        complete(made.config, made.artifacts, name)
    made.require_runnable()


def test_a_changed_setting_is_named_with_all_else_that_would_stop_the_run(plan: Make, config: Config) -> None:
    made = plan()
    for stage in ("dataset", "label", "finetune", "merge"):
        complete(made.config, made.artifacts, stage)
    made.artifacts.stage("evaluate")
    changed = plan({"finetune": {**config.finetune.model_dump(), "rank": 32}})
    changed.environments.vllm.unlink()
    with pytest.raises(CannotRun) as caught:
        changed.require_runnable()
    run = made.artifacts.folder
    assert str(caught.value).startswith(
        f"{run} was begun with finetune.rank = 4, the config says 32: use another --runs, "
        f"or delete {run}/finetune, {run}/merge, {run}/evaluate; "
    )
    assert "vllm/bin/python is missing" in str(caught.value)


def test_a_run_without_records_is_refused_by_name(plan: Make) -> None:
    made = plan()
    made.artifacts.complete("dataset", {})
    with pytest.raises(CannotRun, match=r"runs/toy has no record of the settings of stage dataset: .*runs/toy/dataset"):
        made.require_runnable()


def test_a_version_whose_training_pairs_may_be_tested_on_is_not_continued(
    plan: Make, config: Config, tmp_path: Path
) -> None:
    published(tmp_path / "first", {**config.dataset.model_dump(), "seed": 4})
    made = plan({"finetune": {**config.finetune.model_dump(), "continue_from": tmp_path / "first"}})
    with pytest.raises(CannotRun, match="drawn with seed 4, and the data set has 3"):
        made.require_runnable()
