from __future__ import annotations

from pathlib import Path

from app.supervisor.files import rotate_log


def test_a_few_earlier_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for run in range(6):
        log = rotate_log(folder, "vllm")
        assert not log.exists()
        log.write_text(f"run {run}")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "vllm.log": "run 5",
        "vllm.log.1": "run 4",
        "vllm.log.2": "run 3",
        "vllm.log.3": "run 2",
    }
