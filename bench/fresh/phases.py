"""The phases of a start, from the lines that `make serve` printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.fresh.serving import READY, Line

INSTALLED = re.compile(r"(\w+): (installing into|ready after)")
WAITED = re.compile(r"(vLLM is loading|gateway is starting): done in")
NAMES = {"vLLM is loading": "vLLM start", "gateway is starting": "gateway start"}
SERVING = "Serving "


def phases(lines: Sequence[Line]) -> dict[str, float]:
    """Return the seconds that each phase took, in order; environments are installed side by side.

    A phase that printed nothing, such as an installation at a later start, is left out.
    """
    found: dict[str, float] = {}
    began: dict[str, float] = {}
    last = 0.0
    for line in lines:
        if installed := INSTALLED.match(line.text):
            name = installed[1]
            if name in began:
                found[f"installation of {name}"] = line.at - began[name]
                last = line.at
            began.setdefault(name, line.at)
        elif line.text.startswith(SERVING):
            found["weights" if found else "preparation"] = line.at - last
            last = line.at
        elif waited := WAITED.match(line.text):
            found[NAMES[waited[1]]] = line.at - last
            last = line.at
        elif line.text.startswith(READY):
            found["until ready"] = line.at
    return {name: round(seconds, 1) for name, seconds in found.items()}
