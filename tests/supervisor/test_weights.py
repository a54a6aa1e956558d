from __future__ import annotations

import pytest

from app.contract.manifest import UnusableModel
from app.supervisor.weights import Weights, choose
from tests.supervisor.conftest import Store


def chosen(store: Store, foreign: bool = False) -> Weights:
    return choose(store.store, store.models, "awq", foreign=foreign)


def test_the_current_version_as_built_here(store: Store) -> None:
    weights = chosen(store)
    assert weights.model_id == store.manifest.model_id
    assert weights.folder == store.folder / "awq"
    weights.verify()


def test_without_a_build_the_remedy_is_named(store: Store) -> None:
    with pytest.raises(UnusableModel, match=r"has no dequantized weights in .*: `make model` builds it"):
        choose(store.store, store.models, "dequantized", foreign=False)


def test_an_invalid_record_is_refused(store: Store) -> None:
    (store.folder / "build-awq.json").write_text("{}")
    with pytest.raises(UnusableModel, match="is no build record"):
        chosen(store)


def test_a_build_of_another_manifest_is_refused(store: Store) -> None:
    store.manifest = store.manifest.model_copy(update={"teacher": "another"})
    store.write_manifest()
    with pytest.raises(UnusableModel, match="was built from another manifest"):
        chosen(store)


def test_corrupted_weights_are_refused(store: Store) -> None:
    (store.folder / "awq" / "model.safetensors").write_bytes(b"corrupted")
    with pytest.raises(UnusableModel, match=r"model\.safetensors is not what was published"):
        chosen(store).verify()


def test_a_linked_folder_of_no_build_is_refused(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    (store.folder / "awq" / "more").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(UnusableModel, match="more is in no record of the build"):
        chosen(store).verify()


def test_files_of_no_build_are_refused(store: Store) -> None:
    """vLLM would load them with the others."""
    unknown = store.folder / "awq" / "more" / "model-2.safetensors"
    unknown.parent.mkdir()
    unknown.write_bytes(b"poisoned")
    with pytest.raises(UnusableModel, match=r"more/model-2\.safetensors is in no record of the build"):
        chosen(store).verify()
    unknown.unlink()
    chosen(store).verify()


def test_a_corrupted_adapter_is_refused(store: Store) -> None:
    (store.published / "adapter" / "adapter_model.safetensors").write_bytes(b"corrupted")
    with pytest.raises(UnusableModel, match=r"adapter_model\.safetensors is not what was published"):
        chosen(store)


def test_a_model_of_another_contract_is_served_only_when_asked_for(foreign_store: Store) -> None:
    with pytest.raises(UnusableModel, match="CONVICTION_ALLOW_FOREIGN_MODEL=1"):
        chosen(foreign_store)
    assert chosen(foreign_store, foreign=True).model_id.endswith("-0123456789ab")


def test_a_pass_is_recorded_for_one_build_only(store: Store) -> None:
    weights = chosen(store)
    assert not weights.passed_golden_prompts()
    weights.record_golden_prompts_passed()
    assert chosen(store).passed_golden_prompts()
    record = store.folder / "build-awq.json"
    record.write_text(record.read_text() + "\n")
    assert not chosen(store).passed_golden_prompts()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_a_corrupted_golden_record_is_no_pass(store: Store, text: str) -> None:
    (store.folder / "golden-awq.json").write_text(text)
    assert not chosen(store).passed_golden_prompts()
