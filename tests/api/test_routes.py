"""What answers a request that names nothing: an experiment's arm, the same for the same subject, or the default."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.routing.experiments import Arm, Experiment
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, Gateway, ask, gateway

HALVES = {"ours": ("mistral", 5000), "theirs": ("gpt-4", 5000)}
Arms = Mapping[str, tuple[str, int]]


def written(path: Path, arms: Arms = HALVES, **more: Any) -> Path:
    forms = [{"name": name, "backend": backend, "weight": weight} for name, (backend, weight) in arms.items()]
    path.write_text(json.dumps({"experiments": [{"name": "tuned", "arms": forms, **more}]}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "experiments.json")


@asynccontextmanager
async def experimenting(store_url: str, path: Path, **settings: Any) -> AsyncIterator[Gateway]:
    async with gateway(store_url, experiments_file=path, **settings) as running:
        yield running


def expected(subject: str) -> str:
    arms = [Arm(name=name, backend=backend, weight=weight) for name, (backend, weight) in HALVES.items()]  # type: ignore[arg-type]
    return Experiment(name="tuned", arms=tuple(arms)).assign(subject).name


async def test_a_subject_stays_with_its_arm_and_the_answer_names_it(own_store: str, path: Path) -> None:
    async with experimenting(own_store, path) as running:
        seen = set()
        for subject in ("desk 1", "desk 2", "desk 3", "desk 4", "desk 5", "desk 6"):
            for ticker in ("AAA", "BBB"):
                response = await ask(running, EXAMPLE_BODY | {"ticker": ticker}, X_Subject=subject)
                answer = response.json()
                assert answer["experiment"] == {"name": "tuned", "arm": expected(subject)}
                assert answer["backend"] == HALVES[expected(subject)][0] == response.headers["x-backend"]
            seen.add(answer["backend"])
        assert len(seen) == 2


async def test_without_a_subject_the_ticker_decides_in_any_case_and_else_the_request(
    own_store: str, path: Path
) -> None:
    async with experimenting(own_store, path) as running:
        for ticker in ("AAPL", "aapl", "MSFT", "msft", "NVDA"):
            answer = (await ask(running, EXAMPLE_BODY | {"ticker": ticker})).json()
            assert answer["experiment"]["arm"] == expected(ticker.upper())
        bare = {"metrics": EXAMPLE_BODY["metrics"], "detail": "brief"}
        for request in ("r-1", "r-2", "r-3", "r-4"):
            answer = (await ask(running, bare, X_Request_Id=request)).json()
            assert answer["experiment"]["arm"] == expected(request)


async def test_a_header_goes_before_the_experiment(own_store: str, path: Path) -> None:
    async with experimenting(own_store, written(path, {"all": ("gpt-4", 10_000)})) as running:
        answer = (await ask(running, X_Backend="mistral")).json()
        assert (answer["backend"], answer["experiment"]) == ("mistral", None)
        assert (await ask(running)).json()["backend"] == "gpt-4"


async def test_an_experiment_of_one_detail_leaves_the_other_to_the_default(own_store: str, path: Path) -> None:
    async with experimenting(own_store, written(path, {"all": ("gpt-4", 10_000)}, detail="full")) as running:
        assert (await ask(running)).json()["experiment"] is None
        assert (await ask(running, EXAMPLE_BODY | {"detail": "full"})).json()["backend"] == "gpt-4"


async def test_weights_change_without_a_restart_and_an_invalid_file_is_reported(
    own_store: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.routing.experiments_file.CHECK_INTERVAL_S", 0.0)
    async with experimenting(own_store, written(path, {"ours": ("mistral", 10_000)})) as running:
        assert (await ask(running)).json()["backend"] == "mistral"
        written(path, {"ours": ("mistral", 0), "theirs": ("gpt-4", 10_000)})
        assert (await ask(running)).json()["backend"] == "gpt-4"
        written(path, {"ours": ("mistral", 1)})
        assert (await ask(running)).json()["experiment"]["arm"] == "theirs"
        health = (await running.client.get("/health/ready")).json()
        assert health["ready"] is True
        assert "add up to 1, not to 10000" in health["components"]["experiments"]["reason"]


async def test_an_arm_outside_the_key_s_scope_voids_the_experiment(own_store: str, path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("admin:an-admin-key-0123456789\n")
    keys.chmod(0o600)
    written(path, {"ours": ("mistral", 5000), "theirs": ("gpt-4", 3000), "both": ("cascade", 2000)})
    async with experimenting(own_store, path, api_keys_file=keys) as running:
        admin = {"X-API-Key": "an-admin-key-0123456789"}
        for scope in (["mistral"], ["gpt-4"]):
            made = await running.client.post("/v1/keys", json={"name": scope[0], "backends": scope}, headers=admin)
            key, kept, void = made.json()["key"], 0, 0
            for subject in range(30):
                response = await ask(running, X_API_Key=key, X_Subject=f"desk {subject}")
                if response.status_code == 403:  # the default, too, is outside
                    assert scope == ["gpt-4"]
                    void += 1
                elif (answer := response.json())["experiment"] is None:
                    assert answer["backend"] == "mistral"
                    void += 1
                else:
                    assert [answer["backend"]] == scope
                    kept += 1
            assert kept > 0
            assert void > 0


async def test_an_arm_may_be_a_cascade(own_store: str, path: Path) -> None:
    async with experimenting(own_store, written(path, {"both": ("cascade", 10_000)})) as running:
        answer = (await ask(running)).json()
        assert answer["experiment"] == {"name": "tuned", "arm": "both"}
        assert answer["cascade"]["passed_on"] is False
        streamed = await ask(running, EXAMPLE_BODY | {"stream": True, "detail": "full"})
        assert '"experiment":{"name":"tuned","arm":"both"}' in streamed.text


async def test_each_item_of_a_batch_is_assigned_by_its_ticker(own_store: str, path: Path) -> None:
    async with experimenting(own_store, path) as running:
        items = [EXAMPLE_BODY | {"ticker": f"T{n}"} for n in range(20)]
        response = await running.client.post("/v1/recommendations/batch", json={"items": items})
        lines = [json.loads(line) for line in response.text.splitlines()][:-1]
        arms = {line["answer"]["ticker"]: line["answer"]["experiment"]["arm"] for line in lines}
        assert arms == {f"T{n}": expected(f"T{n}") for n in range(20)}
        assert "x-backend" not in response.headers


async def test_a_bad_subject_is_refused(own_store: str, path: Path) -> None:
    async with experimenting(own_store, path) as running:
        assert_problem(await ask(running, X_Subject=" "), 422, "invalid_request", "X-Subject")


async def test_a_repeat_for_another_subject_is_a_conflict(own_store: str, path: Path) -> None:
    async with experimenting(own_store, path) as running:
        await ask(running, X_Subject="desk 1", Idempotency_Key="k")
        assert (await ask(running, X_Subject="desk 1", Idempotency_Key="k")).headers["idempotency-replayed"] == "true"
        assert_problem(await ask(running, X_Subject="desk 2", Idempotency_Key="k"), 409, "idempotency_conflict")
