from __future__ import annotations

import pytest

from app.cli import main as cli
from tests.supervisor.conftest import Store


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setenv("CONVICTION_MODEL_STORE", str(store.store))
    monkeypatch.setenv("CONVICTION_MODELS", str(store.models))


def test_weights_that_are_the_ones_built_pass(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights"]) == 0
    assert store.manifest.model_id in capsys.readouterr().out


def test_corrupted_weights_are_refused_by_name(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.folder / "awq" / "model.safetensors").write_bytes(b"corrupted")
    assert cli.main(["weights"]) == 2
    assert "model.safetensors is not what was published" in capsys.readouterr().err
