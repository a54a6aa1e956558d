"""Build an image as for a deployment, and check it. Prints a line a step, with the reason of a failure.

It uses Docker, else Podman, which needs no service. Exit status: 0 all checks passed, 1 a check failed, 77 neither
works here.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from deploy.images import gateway, training
from deploy.images.base import STAND_IN, base, official
from deploy.images.engine import ROOT, Engine, ImageError, found

CANNOT = 77
MIB = 2**20
TRAINED = "import accelerate, peft, torch, transformers, training; print(f'PyTorch {torch.__version__}')"


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that containers are stopped and removed
    engine = found()
    if engine is None:
        print("neither Docker nor Podman works here", file=sys.stderr)
        return CANNOT
    try:
        (check_training if options.target == "training" else check_gateway)(engine, options)
    except (ImageError, subprocess.TimeoutExpired) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy/check-image", description=__doc__)
    parser.add_argument("--target", choices=("gateway", "training"), default="gateway")
    parser.add_argument("--environments", default="training", help="of the training image (default: %(default)s)")
    parser.add_argument("--torch", choices=("cuda", "cpu"), default="cpu", help="its PyTorch (default: %(default)s)")
    return parser


def check_gateway(engine: Engine, options: argparse.Namespace) -> None:
    image, labels = "localhost/conviction:checked", described()
    on = built(engine, image, options.target, labels)
    for name, check in (
        ("labels", lambda: gateway.declared(engine, image, labels)),
        ("size", lambda: size(engine, image, on)),
        ("contents", lambda: gateway.printed(engine, image, gateway.CONTENTS)),
        ("sealed", lambda: gateway.printed(engine, image, gateway.SEALED)),
        ("answers", lambda: gateway.answering(engine, image)),
        ("as root", lambda: gateway.refusing(engine, image, gateway.as_root, "CONVICTION_ALLOW_ROOT")),
        ("no secret", lambda: gateway.refusing(engine, image, gateway.without_a_secret, "OPENAI_API_KEY_FILE")),
    ):
        step(name, check)


def check_training(engine: Engine, options: argparse.Namespace) -> None:
    image = "localhost/conviction-training:checked"
    more = {"ENVIRONMENTS": options.environments, "TORCH": options.torch}
    on = built(engine, image, options.target, described() | more)
    python = "/srv/.envs/training/bin/python"
    step("size", lambda: size(engine, image, on))
    step("imports", lambda: gateway.printed(engine, image, TRAINED, python))
    step("sealed", lambda: gateway.printed(engine, image, gateway.SEALED, python))
    step("published", lambda: training.published(engine, image))
    market = os.environ.get("CONVICTION_MARKET_DIR")
    step("stages", lambda: training.staged(engine, image, Path(market) if market else None))


def built(engine: Engine, image: str, target: str, arguments: dict[str, str]) -> str:
    """Build the image; return the name of its base image."""
    on = step("base", lambda: base(engine))
    if on == STAND_IN:
        print(f"base: {official()} cannot be pulled here: this stand-in for it is Debian's, and larger", flush=True)
    upper = {name.upper(): value for name, value in arguments.items()}

    def build() -> str:
        engine.build(image, target, {"PYTHON_IMAGE": on, **upper})
        return f"{image}, by {engine.name}"

    step("build", build)
    return on


def described() -> dict[str, str]:
    """Return version and revision; a modified tree is marked dirty."""
    git = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40")
    revision = subprocess.run(git, capture_output=True, text=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {"version": version, "revision": revision.stdout.strip() or "unknown"}


def size(engine: Engine, image: str, on: str) -> str:
    whole, below = engine.bytes(image), engine.bytes(on)
    return f"{whole / MIB:.0f} MiB, {(whole - below) / MIB:.0f} MiB of them above the base"


def step(name: str, check: Callable[[], str]) -> str:
    started = time.monotonic()
    try:
        found = check()
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    print(f"{name}: {found} [{time.monotonic() - started:.1f} s]", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
