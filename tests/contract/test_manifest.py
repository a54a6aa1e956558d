from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.contract.manifest import BuildRecord, UnusableModel, current, parse, read, sha256, verify


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


@pytest.mark.parametrize("name", ["a\0", "../a", "/etc/passwd", "a/../../b", "a\x1b[2J"])
def test_names_of_files_stay_in_their_folder(name: str) -> None:
    document = {"model_id": "a", "manifest_sha256": "0" * 64, "kind": "awq", "weights": {name: "0" * 64}}
    with pytest.raises(ValidationError, match="within the folder"):
        BuildRecord.model_validate(document)


@pytest.mark.parametrize("field", ["name", "version"])
@pytest.mark.parametrize("name", ["a\0", "..", "a/b", "", "a\n"])
def test_a_manifest_s_name_and_version_are_a_folder_s_name(tmp_path: Path, field: str, name: str) -> None:
    published = current(Path("model_store"))
    document = json.loads((published / "manifest.json").read_text()) | {field: name}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UnusableModel, match=rf"manifest\.json: {field}: "):
        read(tmp_path)


def test_a_manifest_states_calibrations_by_detail_or_none(tmp_path: Path) -> None:
    document = json.loads((current(Path("model_store")) / "manifest.json").read_text())
    document.pop("calibration", None)
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    assert parse(tmp_path).calibration is None
    fitted = {"temperature": 1.5, "bias": {"buy": 0.1, "sell": 0.2, "hold": -0.3}}
    (tmp_path / "manifest.json").write_text(json.dumps(document | {"calibration": {"full": fitted}}))
    calibration = parse(tmp_path).calibration
    assert calibration is not None
    assert calibration["full"].model_dump() == fitted
    (tmp_path / "manifest.json").write_text(json.dumps(document | {"calibration": {"long": fitted}}))
    with pytest.raises(UnusableModel, match=r"calibration\.long"):
        parse(tmp_path)
