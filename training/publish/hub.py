"""Push of a published version to a Hugging Face repository: adapter, card, manifest, optionally 4-bit weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from app.contract.manifest import MANIFEST, read

CARD = "README.md"
WEIGHTS = "awq"
"""Folder of the 4-bit weights in the repository."""
WEIGHTS_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class NotPushed(ValueError):
    """No commit was made; the repository is unchanged, or new and empty."""


def credentials(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Return `HF_TOKEN` and the optional `HF_ENDPOINT`. Raises `NotPushed` without a token."""
    token = environment.get("HF_TOKEN", "").strip()
    if not token:
        raise NotPushed("HF_TOKEN is not set: pushing needs a token that may write to the repository")
    return token, environment.get("HF_ENDPOINT") or None


def push(folder: Path, repo: str, token: str, endpoint: str | None = None, weights: Path | None = None) -> str:
    """Push a verified published version to `repo` as one commit; return the commit's URL.

    The adapter is at the top level, where PEFT expects it. A missing repository is created as private. Raises
    `NotPushed`, or `UnusableModel` if a hash does not match.
    """
    version = read(folder)
    paths = {name: folder / "adapter" / name for name in version.adapter}
    paths |= {name: folder / name for name in (MANIFEST, CARD)}
    paths |= {f"{WEIGHTS}/{path.name}": path for path in _weights(weights)} if weights else {}
    api = HfApi(endpoint=endpoint, token=token, library_name="conviction")
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, path) for name, path in paths.items()],
            commit_message=f"{version.model_id}, teacher {version.teacher}",
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise NotPushed(f"{repo}: the hub answered {status}: {error.server_message or 'no reason given'}") from None
    except HFValidationError as error:
        raise NotPushed(f"{repo}: {error}") from None
    except RuntimeError as error:
        raise NotPushed(f"{repo}: {error} ({type(error.__cause__).__name__})") from None
    except httpx2.HTTPError as error:
        raise NotPushed(f"{repo}: {endpoint or 'the hub'} was not reached: {type(error).__name__}") from None
    return str(commit.commit_url)


def _weights(folder: Path) -> Iterator[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not any(path.suffix == ".safetensors" for path in found):
        raise NotPushed(f"{folder} has no .safetensors file")
    for path in found:
        if path.suffix in PICKLED:
            raise NotPushed(f"{path}: only safetensors are pushed")
        if path.suffix in WEIGHTS_SUFFIXES:
            yield path
