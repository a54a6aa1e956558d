from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.artifacts import Artifacts, read_rows, write_json, write_rows


def test_a_stage_is_done_when_its_manifest_is_there(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    artifacts.stage("dataset")
    assert not artifacts.done("dataset")
    with pytest.raises(FileNotFoundError, match="stage dataset is not complete"):
        artifacts.manifest("dataset")
    artifacts.complete("dataset", {"pairs": 3})
    assert artifacts.done("dataset")
    assert artifacts.manifest("dataset") == {"pairs": 3}


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}])

    def broken() -> Iterator[dict[str, Any]]:
        yield {"a": 2}
        raise RuntimeError("the market went away")

    with pytest.raises(RuntimeError):
        write_rows(path, broken())
    assert list(read_rows(path)) == [{"a": 1}]


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_json(path, {"a": "é"})
    write_json(path, {"b": 1})
    assert path.read_text() == '{\n  "b": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
