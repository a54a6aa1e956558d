from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.calibration import Calibration
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.prompt import Detail
from tests.conftest import StandIn
from training.cli.main import main
from training.evaluation import rows
from training.evaluation.clients import Prediction, Unreachable
from training.evaluation.pairs import Pair
from training.evaluation.stage import Evaluation, EvaluationOptions, evaluate, predict_all

PAIRS = [Pair(t, m, rules.answer(m, "brief")) for t, m in (("SNPS", EXAMPLE), ("TINY", SPARSE))]


async def ask(stand_in: StandIn, pairs: list[Pair], options: EvaluationOptions, folder: Path) -> Evaluation:
    return await evaluate(stand_in.url, None, stand_in.key, pairs, options, folder / "out.unfinished")


async def test_the_rules_agree_with_themselves_over_http(stand_in: StandIn, tmp_path: Path) -> None:
    pairs = [Pair(p.ticker, p.metrics, rules.answer(p.metrics, "full")) for p in PAIRS]
    found = await ask(stand_in, pairs, EvaluationOptions("full", consistency=2), tmp_path)
    assert found.document["agreement"]["value"] == 1
    assert found.document["speed"]["tokens_per_hour"] > 0
    assert found.document["teacher"] == rules.MODEL_ID
    assert found.document["calibration"]["probabilities"]["n"] == 2
    assert {name: stay["value"] for name, stay in found.document["consistency"].items()} == {
        "reordered": 1, "rounded": 1, "swapped ticker": 1, "no ticker": 1
    }  # fmt: skip
    assert [row.ticker for row in found.rows] == ["SNPS", "TINY"]


async def test_a_blind_pair_is_asked_without_its_ticker() -> None:
    class Recording:
        model = "a-model"
        tickers: ClassVar[list[str | None]] = []

        async def ask(self, ticker: str | None, metrics: Metrics, detail: Detail) -> Prediction:
            self.tickers.append(ticker)
            return Prediction("buy", 5)

    source = rows.Source("a-model", "brief")
    found = await predict_all(Recording(), [PAIRS[0], replace(PAIRS[0], blind=True)], source, 1)
    assert Recording.tickers == ["SNPS", None]
    assert [row.ticker for row in found] == ["SNPS", "SNPS"]


async def test_scores_are_of_calibrated_probabilities(stand_in: StandIn, tmp_path: Path) -> None:
    calibration = Calibration(temperature=1e6, bias={"buy": 0, "sell": 0, "hold": 0})
    own = await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    found = await ask(stand_in, PAIRS, EvaluationOptions("brief", calibration=calibration), tmp_path)
    assert (own.document["calibrated"], found.document["calibrated"]) == (None, calibration.model_dump())
    assert found.document["calibration"]["probabilities"]["ece"] == pytest.approx(2 / 3, abs=1e-3)
    assert all(row.probabilities and row.probabilities["buy"] == pytest.approx(1 / 3, abs=1e-3) for row in found.rows)
    kept = rows.read(tmp_path / "out.unfinished")
    assert {row.key: row.probabilities for row in kept} == {row.key: row.probabilities for row in own.rows}


async def test_a_failing_backend_is_counted(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.fail("malformed", times=1)
    found = await ask(stand_in, PAIRS, EvaluationOptions("brief", concurrency=1), tmp_path)
    assert found.document["failures"] == {"unparsed_answer": 1}
    assert found.document["agreement"]["value"] == 0.5


async def test_an_evaluation_cut_off_resumes_where_it_stopped(stand_in: StandIn, tmp_path: Path) -> None:
    whole = await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    left = tmp_path / "out.unfinished"
    first, second = left.read_text().splitlines()
    left.write_text(f"{first}\n{second[:30]}")
    before = stand_in.tally()["answered"]
    again = await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    assert stand_in.tally()["answered"] == before + 1
    assert again.document["agreement"] == whole.document["agreement"]
    kept = next(row for row in again.rows if row.model_dump_json() == first)
    assert kept.at < max(row.at for row in again.rows)
    assert len(rows.read(left)) == 2


async def test_answers_of_another_model_are_not_taken(stand_in: StandIn, tmp_path: Path) -> None:
    await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    left = tmp_path / "out.unfinished"
    rows.write(left, [row.model_copy(update={"model": "another", "predicted": "buy"}) for row in rows.read(left)])
    found = await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    assert found.document["agreement"]["value"] == 1
    assert {row.model for row in rows.read(left)} == {found.document["model"]}


@pytest.mark.parametrize("other", [{"form": "awq"}, {"dtype": "float32"}])
async def test_answers_of_another_form_or_dtype_are_discarded_by_name(
    stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, str]
) -> None:
    options = EvaluationOptions("brief", form="merged", dtype="bfloat16")
    await ask(stand_in, PAIRS, options, tmp_path)
    before = stand_in.tally()["answered"]
    found = await ask(stand_in, PAIRS, replace(options, **other), tmp_path)
    assert stand_in.tally()["answered"] == before + len(PAIRS)
    assert found.document["served"] == {"form": "merged", "dtype": "bfloat16"} | other
    assert "brief merged bfloat16 are discarded" in capsys.readouterr().err
    assert len({row.source for row in rows.read(tmp_path / "out.unfinished")}) == 1


async def test_what_was_never_answered_is_asked_again(stand_in: StandIn, tmp_path: Path) -> None:
    await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    left = tmp_path / "out.unfinished"
    silent = {"predicted": None, "predicted_conviction": None, "completion_tokens": 0, "failure": "ReadError"}
    cut = {"predicted": None, "predicted_conviction": None, "failure": "length"}
    first, second = rows.read(left)
    rows.write(left, [first.model_copy(update=silent), second.model_copy(update=cut)])
    found = await ask(stand_in, PAIRS, EvaluationOptions("brief"), tmp_path)
    assert found.document["failures"] == {"length": 1}


async def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        await evaluate("http://127.0.0.1:9", None, None, PAIRS, EvaluationOptions("brief"), tmp_path / "a")


async def test_pairs_of_two_teachers_are_not_mixed(tmp_path: Path) -> None:
    mixed = [PAIRS[0], Pair("A", EXAMPLE, PAIRS[0].truth, "gpt-4.1")]
    with pytest.raises(ValueError, match=f"one teacher, not gpt-4.1, {rules.MODEL_ID}"):
        await evaluate("http://127.0.0.1:9", None, None, mixed, EvaluationOptions("brief"), tmp_path / "a")


def test_the_command_writes_agreement_and_the_rows_beside(
    stand_in: StandIn, synthetic_market: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reports" / "brief.json"
    words = f"--market {synthetic_market} --options simulated --teacher rules --detail brief --pairs 6".split()
    words += ["--form", "dequantized", "--dtype", "float32"]
    main(["evaluate", *words, "--url", stand_in.url, "--key", stand_in.key, "--out", str(out)])
    document = json.loads(out.read_text())
    assert document["agreement"].keys() == {"value", "low", "high", "n", "tickers"}
    assert (document["agreement"]["value"], document["agreement"]["n"]) == (1, 6)
    assert document["source"]["options"] == "simulated"
    assert document["served"] == {"form": "dequantized", "dtype": "float32"}
    assert len(rows.read(tmp_path / "reports" / "brief.rows.jsonl")) == 6
    left = ["brief.cascade.png", "brief.json", "brief.rows.jsonl"]
    assert sorted(path.name for path in out.parent.iterdir()) == left
    assert (out.parent / left[0]).read_bytes().startswith(b"\x89PNG")
    points = document["cascade"]["points"]
    assert (points[0]["passed_on"], points[0]["agreement"]["value"]) == (0, 1)
    assert document["cascade"]["api_alone"]["usd_per_1k_answers"] > points[0]["usd_per_1k_answers"]
    assert stand_in.key not in out.read_text()


def test_what_a_cut_off_evaluation_left_is_taken_only_when_asked_for(
    stand_in: StandIn, synthetic_market: Path, tmp_path: Path
) -> None:
    out, counts = tmp_path / "brief.json", []
    words = ["evaluate", *f"--market {synthetic_market} --pairs 3 --url {stand_in.url} --out {out}".split()]
    for resume in ([], ["--resume"]):
        main([*words, "--key", stand_in.key])
        (tmp_path / "brief.rows.jsonl").rename(tmp_path / "brief.rows.unfinished")
        before = stand_in.tally()["answered"]
        main([*words, "--key", stand_in.key, *resume])
        counts.append(stand_in.tally()["answered"] - before)
    assert counts == [3, 0]


def test_a_split_of_the_run_is_evaluated_and_recorded(
    stand_in: StandIn, config_file: Path, synthetic_market: Path, tmp_path: Path
) -> None:
    run = ["--config", str(config_file), "--runs", str(tmp_path / "runs")]
    main(["dataset", *run, "--market", str(synthetic_market)])
    main(["label", *run])
    found = {}
    for split in ([], ["--split", "validation"]):
        out = tmp_path / "out.json"
        main(["evaluate", *run, *split, "--url", stand_in.url, "--key", stand_in.key, "--out", str(out)])
        document = json.loads(out.read_text())
        found[document["source"]["split"]] = document["agreement"]["n"]
    assert found == {"test": 6, "validation": 4}


def test_a_market_has_no_splits(synthetic_market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"--market {synthetic_market} --split test --url http://x --out {tmp_path / 'out.json'}".split()
    with pytest.raises(SystemExit):
        main(["evaluate", *words])
    assert "--split is of a run: it cannot be combined with --market" in capsys.readouterr().err
