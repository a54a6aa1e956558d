"""A tutorial's commands, run from first to last in the terminals that it describes.

    python -m tests.docs.tutorial docs/tutorials/rest-client.md

prints each command with its output, from which the page's examples are taken.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.supervisor.running import until, without_settings

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY = re.compile(r"Conviction is ready at (\S+) ")
NEEDS = {"docker compose": "it needs Docker; tests/deploy checks the files of Docker Compose"}
"""Commands that a test cannot run, and why."""

SHELL = """
make() { command make -C "$CONVICTION_CHECKOUT" "$@"; }
pgrep() {  # processes of this tutorial only: other tests run the same programs
  command pgrep "$@" | while read -r pid; do
    if [ "$(readlink "/proc/$pid/cwd")" = "$PWD" ]; then echo "$pid"; fi
  done
}
"""


@dataclass(frozen=True)
class Step:
    """A block of commands, and the output that the page shows for it."""

    commands: str
    shown: str | None
    language: str
    """The language of `shown`: empty for text, `json` for a part of an answer."""

    @property
    def starts_the_gateway(self) -> bool:
        return "conviction up" in self.commands

    @property
    def reason_not_to_run(self) -> str | None:
        return next((why for words, why in NEEDS.items() if words in self.commands), None)


def steps_of(page: Path) -> list[Step]:
    blocks = FENCE.findall(page.read_text())
    after = [*blocks[1:], ("sh", "")]
    return [
        Step(text, None if following == "sh" else shown, following)
        for (language, text), (following, shown) in zip(blocks, after, strict=True)
        if language == "sh"
    ]


class Terminal:
    """A shell that keeps its variables from one block to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.end = folder, "--- end of a block ---"
        self.shell = subprocess.Popen(
            ["bash"], cwd=folder, env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.run(SHELL)

    def run(self, commands: str) -> str:
        """Run the commands and return their output."""
        assert self.shell.stdin and self.shell.stdout
        self.shell.stdin.write(f"{commands}\necho; echo '{self.end}'\n")
        self.shell.stdin.flush()
        lines = iter(self.shell.stdout.readline, "")
        return "".join(line for line in _until(lines, self.end)).strip()

    def close(self) -> None:
        assert self.shell.stdin and self.shell.stdout
        self.shell.stdin.close()
        self.shell.wait(60)
        self.shell.stdout.close()


def _until(lines: Iterator[str], end: str) -> Iterator[str]:
    for line in lines:
        if line.strip() == end:
            return
        yield line


def environment() -> dict[str, str]:
    """Return a reader's environment: without this checkout's settings, at a free port."""
    return {**without_settings(), "CONVICTION_CHECKOUT": str(ROOT), "CONVICTION_PORT": "0", "PYTHONUNBUFFERED": "1"}


@contextmanager
def gateway(commands: str, folder: Path) -> Iterator[str]:
    """Run the block that starts the gateway in a separate terminal, and yield the gateway's URL."""
    output = folder / "first-terminal"
    with output.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", f"{SHELL}\nset -e\n{commands.rstrip()} & trap 'kill $!' TERM; wait $! || wait $!"],
            cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(lambda: READY.search(output.read_text()) or shell.poll() is not None, 120)
        ready = READY.search(output.read_text())
        assert ready, output.read_text()
        yield ready[1]
    finally:
        shell.terminate()
        shell.wait(60)


def run(page: Path, folder: Path) -> Iterator[tuple[Step, str]]:
    """Run the tutorial in `folder`, which replaces a checkout, and yield each later step with its output."""
    (folder / ".envs").symlink_to(ROOT / ".envs")
    first, *others = steps_of(page)
    assert first.starts_the_gateway, page
    with gateway(first.commands, folder) as url:
        terminal = Terminal(folder)
        terminal.run(f"export CONVICTION_URL={url}")
        try:
            for step in others:
                if (reason := step.reason_not_to_run) is None:
                    yield step, terminal.run(step.commands.replace("http://127.0.0.1:8080", url))
                else:
                    print(f"{page.name}: not run, because {reason}: {step.commands.strip()}", file=sys.stderr)
        finally:
            terminal.close()


def main(page: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for step, output in run(Path(page), Path(folder)):
            print(f"```sh\n{step.commands}```\n\n```\n{output}\n```\n")


if __name__ == "__main__":
    main(sys.argv[1])
