from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from app.contract.manifest import UnusableModel
from tests.conftest import served
from tests.training.publish.stand_in_hub import StandInHub
from training.cli.main import main
from training.publish.hub import NotPushed, credentials, push

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
STORE = Path(__file__).parents[3] / "model_store"
CURRENT = (STORE / "current").read_text().strip()
TOKEN = "hf_standInTokenThatNobodyMaySee"
REPO = "conviction-tests/smollm2-135m"


@pytest.fixture(autouse=True)
def _over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_DISABLE_XET=1, and no progress bars."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@pytest.fixture
def hub() -> StandInHub:
    return StandInHub(TOKEN)


@pytest.fixture
def endpoint(hub: StandInHub) -> Iterator[str]:
    with served(hub.app()) as url:
        yield url


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORE / CURRENT, tmp_path / "version"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "vllm.log"):
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def test_a_version_becomes_one_commit_byte_for_byte(hub: StandInHub, endpoint: str, version: Path) -> None:
    address = push(version, REPO, TOKEN, endpoint)
    repository = hub.repositories[REPO]
    assert repository.private
    manifest = json.loads((version / "manifest.json").read_text())
    model_id = "-".join(manifest[name] for name in ("name", "version", "fingerprint"))
    assert repository.commits == [f"{model_id}, teacher {manifest['teacher']}"]
    assert repository.files == {
        "README.md": (version / "README.md").read_bytes(),
        "manifest.json": (version / "manifest.json").read_bytes(),
        "adapter_config.json": (version / "adapter" / "adapter_config.json").read_bytes(),
        "adapter_model.safetensors": (version / "adapter" / "adapter_model.safetensors").read_bytes(),
    }
    assert address.startswith(f"{endpoint}/{REPO}/commit/")
    assert any(request.startswith("PUT /storage/") for request in hub.requests)


def test_weights_lie_in_a_folder_apart_from_the_adapter(
    hub: StandInHub, endpoint: str, version: Path, weights: Path
) -> None:
    push(version, REPO, TOKEN, endpoint, weights)
    repository = hub.repositories[REPO]
    assert len(repository.commits) == 1
    pushed = {name for name in repository.files if name.startswith("awq/")}
    assert pushed == {"awq/model.safetensors", "awq/config.json", "awq/tokenizer.json"}


def test_a_repository_that_is_there_gets_another_commit(hub: StandInHub, endpoint: str, version: Path) -> None:
    push(version, REPO, TOKEN, endpoint)
    push(version, REPO, TOKEN, endpoint)
    assert len(hub.repositories[REPO].commits) == 2


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        (REPO, "hf_wrongTokenThatNobodyMaySee", "the hub answered 401: Invalid username or password"),
        ("someone-else/model", TOKEN, "the hub answered 403: You don't have the rights"),
        ("not/a/repo", TOKEN, "not/a/repo: Repo id must be"),
    ],
)
def test_a_refusal_is_one_line_without_the_token(
    hub: StandInHub, endpoint: str, version: Path, repo: str, token: str, message: str
) -> None:
    with pytest.raises(NotPushed, match=message) as caught:
        push(version, repo, token, endpoint)
    assert "NobodyMaySee" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert not hub.repositories


def test_an_upload_that_failed_is_not_committed(hub: StandInHub, endpoint: str, version: Path) -> None:
    hub.loses_uploads = True
    with pytest.raises(NotPushed, match=r"Error while uploading .* \(HfHubHTTPError\)"):
        push(version, REPO, TOKEN, endpoint)
    assert hub.repositories[REPO].commits == []


def test_a_hub_that_is_not_there_is_reported(version: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(NotPushed, match=f"{endpoint} was not reached: ConnectError"):
            push(version, REPO, TOKEN, endpoint)


def test_what_does_not_match_its_hash_is_not_pushed(hub: StandInHub, endpoint: str, version: Path) -> None:
    (version / "adapter" / "adapter_model.safetensors").write_bytes(b"poisoned")
    with pytest.raises(UnusableModel, match="is not what was published"):
        push(version, REPO, TOKEN, endpoint)
    assert hub.requests == []


def test_only_safetensors_are_pushed(hub: StandInHub, endpoint: str, version: Path, weights: Path) -> None:
    (weights / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(NotPushed, match=r"pytorch_model\.bin: only safetensors"):
        push(version, REPO, TOKEN, endpoint, weights)
    with pytest.raises(NotPushed, match=r"no \.safetensors file"):
        push(version, REPO, TOKEN, endpoint, weights / "absent")
    assert hub.requests == []


def test_credentials_come_from_the_environment() -> None:
    assert credentials({"HF_TOKEN": " hf_x ", "HF_ENDPOINT": "https://hub.example"}) == ("hf_x", "https://hub.example")
    assert credentials({"HF_TOKEN": "hf_x"}) == ("hf_x", None)
    with pytest.raises(NotPushed, match="HF_TOKEN is not set"):
        credentials({"HF_TOKEN": ""})


def test_the_command_pushes_the_current_version_and_says_where(
    hub: StandInHub, endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    main(["push", "--to", REPO, "--store", str(STORE), "--version", CURRENT])
    assert hub.repositories[REPO].commits
    output = capsys.readouterr()
    assert output.out.startswith(f"{endpoint}/{REPO}/commit/")
    assert TOKEN not in output.out + output.err
