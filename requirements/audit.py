"""Known vulnerabilities of what the lists beside this file pin, by pip-audit: `make audit`.

A package that could not be looked up counts as unchecked, never as free of any. Exit status: 0 every package was
looked up and none has one, 1 one has, 77 none is known but some could not be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
FOUND, UNCHECKED = 1, 77
LIMIT_S = 600


@dataclass(frozen=True)
class Audit:
    """What is known of one list's packages."""

    name: str
    vulnerable: tuple[str, ...]
    """`package version: id, fixed in …`."""
    checked: int
    unchecked: int
    why: str

    @property
    def line(self) -> str:
        said = f"{self.name}: {self.checked} packages looked up, {len(self.vulnerable)} known vulnerabilities"
        return said + (f"; {self.unchecked or 'all'} not checked: {self.why}" if self.why else "")


def main(names: Sequence[str]) -> int:
    audits = []
    for path in sorted(HERE.glob("*.txt")):
        if not names or path.stem in names:
            audits.append(audit(path))
            print(audits[-1].line, flush=True)
            for each in audits[-1].vulnerable:
                print(f"  {each}", flush=True)
    if any(each.vulnerable for each in audits):
        return FOUND
    if not audits or any(each.why for each in audits):
        whole = sum(each.checked for each in audits)
        print(f"could not check: {whole} packages looked up, the others not; nothing is said of those")
        return UNCHECKED
    return 0


def audit(path: Path) -> Audit:
    """Ask for each version that the list pins, without resolving or installing anything."""
    program = Path(sys.executable).with_name("pip-audit")
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [program, "--requirement", path, "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
        command += ["--format", "json", "--output", report]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return Audit(path.stem, (), 0, 0, f"no answer in {LIMIT_S} s")
        said = report.read_text() if report.exists() else ""
    if not said:
        return Audit(path.stem, (), 0, 0, (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    return read(path.stem, json.loads(said)["dependencies"])


def read(name: str, dependencies: Sequence[dict[str, object]]) -> Audit:
    """pip-audit's report, which omits from its verdict what it could not look up."""
    skipped = [str(each["skip_reason"]) for each in dependencies if "skip_reason" in each]
    vulnerable = [
        f"{each['name']} {each['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no version'}"
        for each in dependencies
        for known in each.get("vulns", ())  # type: ignore[attr-defined]
    ]
    return Audit(name, tuple(vulnerable), len(dependencies) - len(skipped), len(skipped), skipped[0] if skipped else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
