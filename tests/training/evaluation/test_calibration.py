from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.contract import rule_based_analyst as rules
from app.contract.calibration import Calibration
from app.contract.recommendation import ACTIONS, canonical
from tests.conftest import StandIn
from tests.training.evaluation.examined import examined
from training.artifacts import Artifacts, write_json, write_rows
from training.cli.main import main
from training.evaluation import rows as row_files
from training.evaluation.calibration import applied, calibrate, calibration_of, calibrations, fit, report
from training.evaluation.pairs import pairs_of_market
from training.evaluation.rows import Row

OVERCONFIDENT = Calibration(temperature=0.5, bias={"buy": 0.6, "sell": -0.2, "hold": -0.4})


def answers(count: int = 1500, distortion: Calibration = OVERCONFIDENT, seed: int = 0) -> list[Row]:
    """Answers of a calibrated model, whose stated probabilities are distorted."""
    draw = np.random.default_rng(seed)
    calibrated = [
        examined(
            ACTIONS[draw.choice(3, p=shares)],
            ACTIONS[int(np.argmax(shares))],
            ticker=f"T{number % 100}",
            rsi=number / count,
            probabilities=(float(shares[0]), float(shares[1]), float(shares[2])),
        )
        for number, shares in enumerate(draw.dirichlet((1.0, 1.0, 1.0), count))
    ]
    distorted = applied(distortion, calibrated)
    return [row.model_copy(update={"predicted": _highest(row.probabilities or {})}) for row in distorted]


def _highest(probabilities: Mapping[Any, float]) -> Any:
    return max(probabilities, key=lambda action: probabilities[action])


def test_a_fit_undoes_the_distortion() -> None:
    found = fit(answers(6000))
    assert found.temperature == pytest.approx(2, abs=0.15)
    expected = {action: -bias / 2 for action, bias in OVERCONFIDENT.bias.items()}
    assert found.bias == pytest.approx(expected, abs=0.15)
    assert sum(found.bias.values()) == pytest.approx(0, abs=1e-3)


def test_the_report_compares_held_out_answers_before_and_after() -> None:
    found = report(answers())
    assert found["pairs"] == 1500
    assert found["tickers"] == 100
    assert found["before"]["ece"] > 0.1
    assert found["after"]["ece"] < 0.05
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["action"]["most_probable"]["value"] > 0.01
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_calibrated_model_is_left_as_it_is() -> None:
    identity = Calibration(temperature=1, bias={"buy": 0, "sell": 0, "hold": 0})
    found = fit(answers(4000, identity))
    assert found.temperature == pytest.approx(1, abs=0.1)
    assert max(map(abs, found.bias.values())) < 0.1


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.9, 0.1, 0.0)])
def test_answers_that_are_all_right_have_a_finite_calibration(shares: tuple[float, float, float]) -> None:
    found = fit([examined("buy", "buy", probabilities=shares)] * 1000)
    assert 0 < found.temperature < 1


def test_an_unlisted_action_of_the_teacher_has_a_bounded_loss() -> None:
    rows = [*answers(200), examined("sell", "buy", ticker="T1", probabilities=(1.0, 0.0, 0.0))]
    assert np.isfinite(report(rows)["before"]["nll"])


def test_answers_without_probabilities_are_left_out() -> None:
    failed, silent = examined("buy", None), examined("buy", "buy", ticker="B")
    assert report([*answers(200), failed, silent])["pairs"] == 200
    with pytest.raises(ValueError, match=r"0 of 2 answers have probabilities, of 0 ticker\(s\)"):
        report([failed, silent])
    with pytest.raises(ValueError, match="of 1 ticker"):
        report([examined("buy", "buy", probabilities=(0.8, 0.1, 0.1))] * 9)
    assert applied(OVERCONFIDENT, [failed]) == [failed]


def evaluated(path: Path, rows: list[Row], split: str = "validation", **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"detail": path.name.partition("-")[0], "source": {"split": split}, **changes})
    row_files.write(row_files.rows_path(path), rows)
    return path


def test_the_stage_fits_each_detail_and_completes(
    artifacts: Artifacts, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrations(artifacts) == {}
    for detail, seed in (("brief", 0), ("full", 1)):
        evaluated(artifacts.folder / "calibrate" / f"{detail}-awq.json", answers(300, seed=seed))
    main(["calibrate", "--config", str(config_file), "--runs", str(artifacts.folder.parent)])
    assert json.loads(capsys.readouterr().out) == artifacts.manifest("calibrate")
    found = calibrations(artifacts)
    assert found.keys() == {"brief", "full"}
    assert found["brief"] != found["full"]
    assert found["brief"] == calibration_of(artifacts, "brief")


def test_the_test_split_is_evaluated_with_what_was_fitted_on_validation(
    stand_in: StandIn, artifacts: Artifacts, config_file: Path, synthetic_market: Path
) -> None:
    pairs = pairs_of_market(synthetic_market, "simulated", "brief", 12, 0)
    for split, part in (("validation", pairs[:8]), ("test", pairs[8:])):
        labelled = [
            {"ticker": p.ticker, "detail": "brief", "metrics": p.metrics.document(), "answer": canonical(p.truth)}
            for p in part
        ]
        write_rows(artifacts.stage("label") / f"{split}.jsonl", [row | {"teacher": rules.MODEL_ID} for row in labelled])
    artifacts.complete("label", {})
    run = ["--config", str(config_file), "--runs", str(artifacts.folder.parent)]
    ask = ["evaluate", *run, "--url", stand_in.url, "--key", stand_in.key, "--consistency", "0"]
    test = artifacts.folder / "evaluate" / "brief-awq.json"
    with pytest.raises(SystemExit):
        main([*ask, "--calibrated", "--out", str(test)])
    main([*ask, "--split", "validation", "--out", str(artifacts.folder / "calibrate" / "brief-awq.json")])
    main(["calibrate", *run])
    main([*ask, "--calibrated", "--out", str(test)])
    document = json.loads(test.read_text())
    assert document["calibrated"] == calibration_of(artifacts, "brief").model_dump()
    assert (document["source"]["split"], document["agreement"]["n"]) == ("test", 4)


def test_an_evaluation_may_be_named(artifacts: Artifacts, tmp_path: Path) -> None:
    path = evaluated(tmp_path / "elsewhere" / "brief-mine.json", answers(100))
    assert calibrate(artifacts, [path]).keys() == {"brief"}
    with pytest.raises(FileNotFoundError, match="no calibration of full"):
        calibration_of(artifacts, "full")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "brief-awq.json evaluates the split test: calibration is fitted on validation pairs only"),
        ({"calibrated": {"temperature": 1}}, "brief-awq.json has calibrated probabilities"),
        ({"rows": []}, "brief-awq.json: 0 of 0 answers have probabilities"),
    ],
)
def test_what_calibrates_nothing_is_refused_by_name(
    artifacts: Artifacts, changes: dict[str, Any], message: str
) -> None:
    rows, split = changes.pop("rows", answers(50)), changes.pop("split", "validation")
    evaluated(artifacts.folder / "calibrate" / "brief-awq.json", rows, split, **changes)
    with pytest.raises(ValueError, match=message):
        calibrate(artifacts)
    assert not artifacts.done("calibrate")


def test_without_an_evaluation_there_is_nothing_to_fit(artifacts: Artifacts) -> None:
    with pytest.raises(FileNotFoundError, match="evaluate the validation split first"):
        calibrate(artifacts)
