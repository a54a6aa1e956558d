"""Update or check the chart's generated files.

python -m deploy.helm settings        the settings that values.schema.json allows, from app/settings
python -m deploy.helm engines FOLDER  the engines' values against their charts; where one is wrong, status 1
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.helm import charts, settings
from deploy.helm.helm import CHART, Refused, example, rendered


def faults(folder: Path) -> Iterator[str]:
    """Yield the faults of the chart's manifests, of our manifests for engines, and of our values for their charts."""
    for fault in charts.invalid(rendered(CHART, example()), folder / "crds"):
        yield f"gateway: {fault}"
    for fault in charts.invalid(charts.manifests_in("weights.yaml"), folder / "crds"):
        yield f"weights.yaml: {fault}"
    for engine in charts.ALL:
        for fault in faults_of(engine, folder):
            yield f"{engine.values}: {fault}"


def faults_of(engine: charts.Engine, folder: Path) -> list[str]:
    """Return the faults of the values for one chart."""
    if (found := charts.version_of(folder / engine.chart)) not in (engine.version, "0.0.0"):
        return [f"written for {engine.chart} {engine.version}, not {found}"]
    try:
        manifests = engine.installed(folder)
        unused = [f"{value} has no effect" for value in charts.without_effect(engine, folder)]
    except Refused as error:
        return [str(error)]
    return [*charts.invalid(manifests, folder / "crds"), *unused]


def main(arguments: list[str]) -> int:
    """Run a command; return the exit status."""
    match arguments:
        case ["settings"]:
            settings.write()
            return 0
        case ["engines", folder]:
            found = list(faults(Path(folder)))
            print(*found or ["no faults"], sep="\n")
            if not found:
                charts.CHECKED.write_text(json.dumps(charts.record(), indent=2) + "\n")
            return 1 if found else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
