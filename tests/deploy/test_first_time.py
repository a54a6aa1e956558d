"""deploy/compose/first-time: it creates missing files, changes no others, and the gateway accepts the result."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from app.auth.key_file import load_keys
from app.contract.manifest import current, read
from app.pricing.limits import Limits

ROOT = Path(__file__).parents[2]
NAMES = {"api_keys", "metrics_key", "openai_api_key", "valkey_password", "grafana_admin_password"}


def made(folder: Path, **environment: str) -> dict[str, str]:
    """Run it; return every file in the folder."""
    surroundings = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    command = [str(ROOT / "deploy/compose/first-time"), str(folder)]
    subprocess.run(command, env=surroundings | environment, check=True, capture_output=True, timeout=60)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def test_all_secrets_are_drawn_and_fit_each_other(tmp_path: Path) -> None:
    files = made(tmp_path)
    assert files.keys() == {".env", *(f"secrets/{name}" for name in NAMES)}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    drawn = [files[f"secrets/{name}"] for name in NAMES - {"api_keys", "openai_api_key"}]
    assert len(set(drawn)) == 3 and all(len(each) == 48 for each in drawn)
    keyring = load_keys(tmp_path / "secrets/api_keys", Limits())
    assert keyring is not None
    scraping = keyring.principal(files["secrets/metrics_key"])
    assert scraping is not None and scraping.name == "prometheus"
    assert f"CONVICTION_MODEL_ID={read(current(ROOT / 'model_store')).model_id}\n" in files[".env"]
    assert "\nOPENAI_API_KEY_FILE" not in files[".env"]


def test_existing_files_are_not_changed(tmp_path: Path) -> None:
    first = made(tmp_path)
    (tmp_path / "secrets/valkey_password").write_text("my own")
    assert made(tmp_path) == first | {"secrets/valkey_password": "my own"}


def test_a_key_of_the_environment_is_kept_and_used(tmp_path: Path) -> None:
    files = made(tmp_path, OPENAI_API_KEY="sk-1234567890")
    assert files["secrets/openai_api_key"] == "sk-1234567890"
    assert "\nOPENAI_API_KEY_FILE=/run/secrets/openai_api_key\n" in files[".env"]
