"""What the training image has to do: stages run in it as docs/how-to/train-a-model.md starts them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deploy.images.engine import ContainerSpec, Engine, ImageError

STAGE_S = 900
MARKET = "/srv/market"
WRITTEN = ("/srv/runs", "/srv/.models")
NOTHING = "No run of this project is recorded"


def published(engine: Engine, image: str) -> str:
    """Check that the image has the published versions, whose costs `costs` prints."""
    with tempfile.TemporaryDirectory() as folder:
        printed = _run(engine, ContainerSpec(image, ("costs",)), Path(folder))
    if NOTHING in printed:
        raise ImageError("it has no model_store")
    return "costs of the published versions"


def staged(engine: Engine, image: str, market: Path | None) -> str:
    """Run the first stages with mounted folders; without a market, check that the message names its folder."""
    with tempfile.TemporaryDirectory() as folder:
        mounts = {folder_on_host(Path(folder), inside): inside for inside in WRITTEN}
        if market is None:
            return refused(engine, image, mounts, Path(folder))
        mounts[market.resolve()] = f"{MARKET}:ro"
        for stage in ("dataset", "label"):
            _run(engine, _spec(image, stage, mounts), Path(folder))
        return f"dataset and label of {market}"


def refused(engine: Engine, image: str, mounts: dict[Path, str], folder: Path) -> str:
    """Check that `dataset` without a market exits with status 2; return its message."""
    with engine.running(_spec(image, "dataset", mounts), folder / "log") as running:
        status, output = running.ended(STAGE_S), running.output()
    if status != 2 or MARKET not in output:
        raise ImageError(f"without a market, dataset ended with {status}: {output}")
    return output.splitlines()[0]


def folder_on_host(folder: Path, inside: str) -> Path:
    """Make a folder that the container's user may write to."""
    made = folder / Path(inside).name
    made.mkdir()
    made.chmod(0o777)
    folder.chmod(0o755)
    return made


def _spec(image: str, stage: str, mounts: dict[Path, str]) -> ContainerSpec:
    return ContainerSpec(image, (stage, "--config", "training/configs/demo.toml"), volumes=mounts)


def _run(engine: Engine, spec: ContainerSpec, folder: Path) -> str:
    """Run to the end and return the output. Raises `ImageError`."""
    with engine.running(spec, folder / "log") as running:
        status, output = running.ended(STAGE_S), running.output()
    if status:
        raise ImageError(f"{spec.command[0]} ended with {status}: {output}")
    return output
