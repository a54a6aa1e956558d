"""The generated pages of docs/reference agree with their sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).parents[2] / "docs" / "reference" / "generate.py"


def test_no_generated_page_differs_from_its_source() -> None:
    checked = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
