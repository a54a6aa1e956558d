from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.recommendation import ACTIONS, canonical
from training.artifacts import Artifacts, write_json, write_rows
from training.cli.main import main
from training.config.finetune import Pairs
from training.evaluation import baselines, rows
from training.evaluation.clients import Prediction
from training.evaluation.pairs import Pair, pairs_of_market
from training.evaluation.rows import Row
from training.evaluation.scores import scores
from training.report.findings import DISCLAIMER, teacher_name
from training.report.results import compare_common, load_results
from training.report.stage import training_pairs

Said = Callable[[int, Pair], Prediction]


def right_but_every(nth: int) -> Said:
    def predicted(index: int, pair: Pair) -> Prediction:
        wrong = next(action for action in ACTIONS if action != pair.truth.action)
        return Prediction(wrong if index % nth == 0 else pair.truth.action, pair.truth.conviction, seconds=0.1)

    return predicted


def failed(index: int, pair: Pair) -> Prediction:
    return Prediction(failure="length", seconds=0.1)


def evaluated(artifacts: Artifacts, name: str, pairs: list[Pair], predicted: Said) -> None:
    """An evaluation as the stage leaves it."""
    detail = "brief" if name.startswith("brief") else "full"
    kept: list[Row] = [
        rows.row(p, predicted(i, p), rows.Source(f"{name}-1", detail), i + 1.0) for i, p in enumerate(pairs)
    ]  # type: ignore[arg-type]
    path = artifacts.stage("evaluate") / f"{name}.json"
    rows.write(rows.rows_path(path), kept)
    speed = {
        "concurrency": 8, "seconds": 9.0, "prompt_tokens": 900, "completion_tokens": 90, "tokens_per_hour": 1000,
        "median_seconds": 0.1,
    }  # fmt: skip
    stay = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 9, "tickers": 3, "teacher": 1.0}
    consistency = {"rounded": stay, "swapped ticker": {**stay, "value": 0.97}, "no ticker": {**stay, "value": 0.985}}
    write_json(path, {"model": f"{name}-1", **scores(kept), "speed": speed, "consistency": consistency})


@pytest.fixture(scope="session")
def market_pairs(synthetic_market: Path) -> list[Pair]:
    return pairs_of_market(synthetic_market, "simulated", "brief", 160, 0)


@pytest.fixture
def finished(artifacts: Artifacts, market_pairs: list[Pair]) -> Artifacts:
    """A run labelled, tuned and evaluated: two kinds of weights, and the base, whose every answer fails."""
    labelled = [
        {
            "ticker": pair.ticker,
            "as_of": str(pair.metrics.as_of),
            "metrics": pair.metrics.document(),
            "action": pair.truth.action,
            "answer": canonical(pair.truth),
        }
        for pair in market_pairs[60:]
    ]
    write_rows(artifacts.stage("label") / "train.jsonl", labelled)
    artifacts.complete("label", {"model": rules.MODEL_ID})
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "eval_loss": 1.5, "eval_agreement": 0.5}]
    tuned = {"pairs": 100, "tokens": 9000, "seconds": 60.5, "history": history, "continued_from": "model_store/x/1"}
    artifacts.complete("finetune", tuned)
    for kind, predicted in (("awq", right_but_every(10)), ("merged", right_but_every(12)), ("base", failed)):
        evaluated(artifacts, f"brief-{kind}", market_pairs[:60], predicted)
    return artifacts


def test_models_come_in_order_and_baselines_the_best_first(finished: Artifacts) -> None:
    train = baselines.read_training_set(finished.folder / "label" / "train.jsonl")
    (results,) = load_results(finished.folder / "evaluate", train)
    assert [model.kind for model in results.models] == ["awq", "merged", "base"]
    assert [one.value for one in results.baselines] == sorted((one.value for one in results.baselines), reverse=True)
    found = compare_common(results.models[0], results.models[1])
    assert found is not None
    assert (found["only_first"], found["only_second"], found["n"]) == (4, 5, 60)


def test_a_question_asked_twice_is_compared_twice(finished: Artifacts, market_pairs: list[Pair]) -> None:
    for name, nth in (("brief-awq", 1), ("brief-merged", 2)):
        evaluated(finished, name, [market_pairs[0], market_pairs[0]], right_but_every(nth))
    train = baselines.read_training_set(finished.folder / "label" / "train.jsonl")
    awq, merged = load_results(finished.folder / "evaluate", train)[0].models[:2]
    one, other = compare_common(awq, merged), compare_common(merged, awq)
    assert one is not None
    assert other is not None
    assert one["value"] == -other["value"] == -0.5
    assert (one["n"], one["only_second"], other["only_first"]) == (2, 1, 1)


def test_two_that_were_asked_other_questions_are_not_compared(finished: Artifacts, market_pairs: list[Pair]) -> None:
    evaluated(finished, "brief-adapter", market_pairs[100:], right_but_every(5))
    train = baselines.read_training_set(finished.folder / "label" / "train.jsonl")
    (results,) = load_results(finished.folder / "evaluate", train)
    adapter = results.of("adapter")
    assert adapter is not None
    assert compare_common(results.shipped, adapter) is None


def test_the_command_writes_both_forms(
    finished: Artifacts, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [{"pairs": 40, "agreement": {"value": 0.5, "low": 0.4, "high": 0.6}, "note": "of another run"}]
    curves = {"the model": mine, "a claim": [{"pairs": 80, "agreement": {"value": 0.85}}]}
    (finished.folder / "evaluate" / "curve.json").write_text(json.dumps(curves))
    out = tmp_path / "out"
    main(["report", "--config", str(config_file), "--runs", str(tmp_path / "runs"), "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    pictures = {"brief-confusion", "brief-reliability", "brief-missing", "learning", "training"}
    assert {path.stem for path in out.glob("*.png")} == pictures
    for picture in pictures:
        assert f"({picture}.png)" in text
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png") == len(pictures)
    for phrase in (DISCLAIMER, "rule-based analyst", "untuned base", "gradient boosting", "stratified random"):
        assert phrase in text
    assert "| 40 | 50.0% (40.0 to 60.0) | - | of another run |\n| 80 | - | 85.0% | - |" in text
    assert "Of 9 actions, 3.0% change under another ticker and 1.5% without a ticker" in text
    assert "## Calibration" not in text
    assert "of another run" in page
    assert "Training continued model_store/x/1" in text
    assert not list(out.glob("*.part"))
    assert "gpt" not in text.lower()  # no answer had probabilities, so that there is no cascade to price


def test_without_a_measured_curve_the_baselines_are_shown(
    finished: Artifacts, config_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    main(["report", "--config", str(config_file), "--runs", str(tmp_path / "runs"), "--out", str(out)])
    text = (out / "report.md").read_text()
    assert "so only the baselines' curves are shown" in text
    assert "| training pairs | gradient boosting | logistic regression on readings | note |" in text


def test_baselines_are_fitted_on_the_pairs_of_every_stage_that_trained_the_model(finished: Artifacts) -> None:
    assert training_pairs(finished) is None
    for stage, pairs in (("finetune", {"brief": 9, "full": 2}), ("qat", {"brief": 3, "full": 4})):
        finished.complete(stage, {"config": {"pairs": pairs}})
    assert training_pairs(finished) == Pairs(brief=9, full=4)
    finished.complete("qat", {"config": {"pairs": None}})
    assert training_pairs(finished) is None


def test_a_cascade_is_drawn_where_answers_have_probabilities(
    finished: Artifacts, market_pairs: list[Pair], config_file: Path, tmp_path: Path
) -> None:
    def unsure_where_wrong(index: int, pair: Pair) -> Prediction:
        wanted, share = right_but_every(10)(index, pair), 0.5 if index % 10 == 0 else 0.9
        shares = {action: share if action == wanted.action else (1 - share) / 2 for action in ACTIONS}
        return replace(wanted, probabilities=shares, prompt_tokens=200, completion_tokens=11)

    evaluated(finished, "brief-awq", market_pairs[:60], unsure_where_wrong)
    out = tmp_path / "out"
    main(["report", "--config", str(config_file), "--runs", str(tmp_path / "runs"), "--out", str(out)])
    text = (out / "report.md").read_text()
    assert "| 0.5 | 0.0% | 90.0% | 90.0% |" in text
    assert "| 0.55 | 10.0% | 100.0% | 100.0% |" in text
    assert "0.55 is the least threshold" in text
    assert "counts as the rule-based analyst's own, and so as agreeing" in text
    assert (out / "cascade.png").read_bytes().startswith(b"\x89PNG")


def test_the_calibration_and_its_effect_are_reported(finished: Artifacts, config_file: Path, tmp_path: Path) -> None:
    fitted = {"temperature": 1.5, "bias": {"buy": 0.1, "sell": 0.2, "hold": -0.3}}
    before, after = {"nll": 0.4, "ece": 0.11, "brier": 0.2}, {"nll": 0.3, "ece": 0.02, "brier": 0.1}
    action = {"written": 0.9, "most_probable": {"value": 0.012, "p": 0.04}}
    one = {"calibration": fitted, "pairs": 1000, "before": before, "after": after, "action": action}
    finished.complete("calibrate", {"brief": one})
    out = tmp_path / "out"
    main(["report", "--config", str(config_file), "--runs", str(tmp_path / "runs"), "--out", str(out)])
    text = (out / "report.md").read_text()
    figures = "0.4000, 0.3000 | 0.1100, 0.0200 | 90.0%, 91.2% (McNemar p = 0.040)"
    assert f"| brief | 1,000 | 1.500 | +0.100 | +0.200 | -0.300 | {figures} |" in text


@pytest.mark.parametrize("curve", ['[{"pairs": "many", "agreement": 1}]', "[", "{}"])
def test_a_malformed_curve_is_named(
    finished: Artifacts, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], curve: str
) -> None:
    (finished.folder / "evaluate" / "curve.json").write_text(curve)
    with pytest.raises(SystemExit):
        main(["report", "--config", str(config_file), "--runs", str(tmp_path / "runs")])
    assert "curve.json: " in capsys.readouterr().err
    assert not (finished.folder / "report").exists()


def test_evaluations_without_rows_are_named(finished: Artifacts) -> None:
    for name in ("brief-awq", "brief-base"):
        (finished.folder / "evaluate" / f"{name}.rows.jsonl").unlink()
    train = baselines.read_training_set(finished.folder / "label" / "train.jsonl")
    with pytest.raises(ValueError, match=r"brief-awq\.json, brief-base\.json: the rows file is missing"):
        load_results(finished.folder / "evaluate", train)


def test_nothing_evaluated_is_reported(artifacts: Artifacts, finished: Artifacts) -> None:
    train = baselines.read_training_set(finished.folder / "label" / "train.jsonl")
    with pytest.raises(FileNotFoundError, match="run the stage evaluate first"):
        load_results(artifacts.stage("nothing"), train)


def test_rules_are_never_called_another_model() -> None:
    assert teacher_name(rules.MODEL_ID) == "rule-based analyst"
    assert teacher_name("gpt-4.1") == "gpt-4.1"
