"""Completion scripts: what a shell offers for a line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from app.cli import main as cli
from app.cli.completion import SHELLS, script

OFFER = """
source {file}
COMP_WORDS=({line} "{word}"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
"$(complete -p conviction | sed 's/.*-F \\([^ ]*\\).*/\\1/')" 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def bash_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "bash"
    file.write_text(script("bash"))
    return file


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("conviction", "rec", {"recommend"}),
        ("conviction", "com", {"compare", "completion"}),
        ("conviction recommend", "--ba", {"--batch", "--backend"}),
        ("conviction recommend AAPL --output", "", {"text", "table", "json", "csv"}),
        ("conviction recommend --backend", "m", {"mistral"}),
        ("conviction keys", "", {"create", "list", "revoke"}),
        ("conviction keys list --output", "t", {"table"}),
        ("conviction completion", "", set(SHELLS)),
    ],
)
def test_bash_offers_commands_options_and_values(bash_file: Path, line: str, word: str, offered: set[str]) -> None:
    command = ["bash", "-c", OFFER.format(file=bash_file, line=line, word=word)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=bash_file.parent)
    assert set(done.stdout.split()) == offered, done.stderr


def test_bash_offers_files(bash_file: Path) -> None:
    (bash_file.parent / "tickers.txt").touch()
    command = ["bash", "-c", OFFER.format(file=bash_file, line="conviction recommend --batch", word="tick")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=bash_file.parent)
    assert done.stdout.split() == ["tickers.txt"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_command_and_its_shell_accepts_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in (*cli.COMMANDS, "--as-of", "--usd-per-day"))
    assert text.rstrip() == script(shell)
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(text)
        subprocess.run([shell, "-n", str(file)], check=True, timeout=60)
