from __future__ import annotations

from pathlib import Path

from app.supervisor.files import fresh_log


def test_a_few_earlier_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for life in range(6):
        log = fresh_log(folder, "vllm")
        assert not log.exists()
        log.write_text(f"life {life}")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "vllm.log": "life 5",
        "vllm.log.1": "life 4",
        "vllm.log.2": "life 3",
        "vllm.log.3": "life 2",
    }
