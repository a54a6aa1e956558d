from __future__ import annotations

from pathlib import Path

import pytest

from app.contract.manifest import UnusableModel, current, read, sha256, verify


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "", ".", "a\0/1", "a\nb/1"])
def test_current_stays_in_the_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "current").write_text(name)
    with pytest.raises(UnusableModel, match="names no folder of the store"):
        current(tmp_path)


def test_a_store_without_current_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match="cannot be read"):
        current(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1}', "[]"])
def test_a_malformed_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UnusableModel, match=r"manifest\.json"):
        read(tmp_path)


def test_missing_and_changed_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    verify(tmp_path, {"a": sha256(tmp_path / "a")})
    with pytest.raises(UnusableModel, match="a is not what was published"):
        verify(tmp_path, {"a": "0" * 64})
    with pytest.raises(UnusableModel, match="b cannot be read"):
        verify(tmp_path, {"b": "0" * 64})
