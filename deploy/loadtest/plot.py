"""A plot of the simulation. It needs matplotlib and nothing else of this package:

.envs/training/bin/python -m deploy.loadtest.plot FOLDER
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERVER, DETAIL = "l4", "full"
NAMES = {"cpu": "default model, two CPU cores", "t4": "Mistral 7B, T4", "l4": "Mistral 7B, L4"}
STYLES = {"brief": "--", "full": "-"}
Row = dict[str, str]


def main() -> int:
    """Read steady.csv in the folder and write simulation.png to it."""
    folder = Path(sys.argv[1])
    rows = list(csv.DictReader((folder / "steady.csv").open()))
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    waiting, cost = figure.subplots(1, 2)
    _waiting(waiting, rows)
    _cost(cost, rows)
    figure.savefig(folder / "simulation.png", dpi=110, metadata={"Software": None})
    return 0


def _waiting(axes: Axes, rows: list[Row]) -> None:
    """Plot the 95th percentile of full answers by load, a line for each number of servers."""
    found = [row for row in rows if (row["server"], row["detail"]) == (SERVER, DETAIL)]
    for replicas in sorted({int(row["replicas"]) for row in found}):
        _line(axes, [row for row in found if int(row["replicas"]) == replicas], "took_p95_s", f"{replicas}")
    axes.set(xlabel="load, of what all can do", ylabel="seconds, 95th percentile", ylim=(0, None))
    axes.set_title(f"{NAMES[SERVER]}, {DETAIL}: waiting and answer")
    axes.legend(title="servers")
    axes.grid(visible=True, alpha=0.3)


def _cost(axes: Axes, rows: list[Row]) -> None:
    """Plot a figure that is the same for any number of servers at the same load."""
    for server, name in NAMES.items():
        for detail, style in STYLES.items():
            found = [row for row in rows if (row["server"], row["detail"], row["replicas"]) == (server, detail, "1")]
            _line(axes, found, "usd_per_1k_tokens", f"{name}, {detail}", style)
    axes.set(xlabel="load, of what all can do", ylabel="USD per 1,000 tokens in and out", yscale="log")
    axes.set_title("cost")
    axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3, which="both")


def _line(axes: Axes, rows: list[Row], column: str, label: str, style: str = "-") -> None:
    points = [(float(row["load"]), float(row[column])) for row in rows]
    axes.plot(*zip(*points, strict=True), style, marker=".", label=label)


if __name__ == "__main__":
    sys.exit(main())
