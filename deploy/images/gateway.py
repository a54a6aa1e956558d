"""What the gateway's image has to be and to do, one check after another; each returns what it found."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.images.engine import ContainerSpec, Engine, ImageError
from deploy.images.trial import BODY, Trial, trial

RUN_S = 600
"""For one command: a busy machine imports PyTorch in more than a minute."""

SEALED = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert os.getuid() == 10001, os.getuid()
assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, status["CapEff"]
assert status["NoNewPrivs"].strip() == "1"
for folder in ("/", "/srv", "/etc"):
    try:
        open(os.path.join(folder, "written"), "w")
    except OSError as error:
        assert error.errno == 30, error  # a read-only file system
    else:
        raise SystemExit(f"{folder} can be written to")
open("/tmp/written", "w").close()
print("uid 10001, no capability, read-only root")
"""
CONTENTS = """
import shutil
from importlib.metadata import distributions
import pandas, pyarrow.dataset, pyarrow.parquet, talib
there = {each.name.lower() for each in distributions()}
assert not there & {"torch", "vllm", "transformers", "pytest", "setuptools"}, there
tools = [tool for tool in ("cc", "gcc", "c++", "make", "ld") if shutil.which(tool)]
assert not tools, tools
print(f"{len(there)} distributions, no PyTorch, no compiler")
"""


def declared(engine: Engine, image: str, labels: Mapping[str, str]) -> str:
    """What the image says of itself."""
    config = engine.config(image)
    found = {
        "User": config["User"],
        "Cmd": config["Cmd"],
        "health check": bool(config.get("Healthcheck")),
        **{name: config["Labels"].get(f"org.opencontainers.image.{name}") for name in labels},
    }
    wanted = {"User": "10001:10001", "Cmd": ["conviction", "serve"], "health check": True, **labels}
    if found != wanted:
        raise ImageError(f"{found} instead of {wanted}")
    return f"user {config['User']}, conviction serve, health check, version {labels['version']}"


def printed(engine: Engine, image: str, program: str, python: str = "python") -> str:
    """Return the output of a Python program in the sealed image, in place of its entry point."""
    status, output = _run(engine, ContainerSpec(image, ("-c", program), entrypoint=python))
    if status:
        raise ImageError(output)
    return output


def answering(engine: Engine, image: str) -> str:
    """Check that the gateway becomes ready, answers from both backends, is healthy, and stops."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        started = time.monotonic()
        with trial(engine, image, Path(folder)) as tried:
            ready_s = time.monotonic() - started
            actions = [_answer(tried, backend) for backend in ("mistral", "gpt-4")]
            _expect(tried.ask("/v1/backends")[0] == 401, "it answers requests without a key")
            _healthy(tried, image)
            tried.running.stop()
            status = tried.running.ended()
            _expect(status == 0, f"after SIGTERM it ended with {status}:\n{tried.running.output()}")
    return f"ready after {ready_s:.1f} s; {' and '.join(actions)}; 401 without a key; healthy; stopped"


def refusing(engine: Engine, image: str, spec: Callable[[str], ContainerSpec], wanted: str) -> str:
    """Check that the container exits with status 2 and names `wanted`; return the last line of its output."""
    status, output = _run(engine, spec(image))
    _expect(status == 2 and wanted in output, f"it ended with {status}: {output}")
    return output.splitlines()[-1]


def as_root(image: str) -> ContainerSpec:
    return ContainerSpec(image, environment={"CONVICTION_API_KEYS_FILE": "/dev/null"}, user="0:0")


def without_a_secret(image: str) -> ContainerSpec:
    named = {"OPENAI_API_KEY_FILE": "/run/secrets/openai_api_key", "CONVICTION_API_KEYS_FILE": "/run/secrets/api_keys"}
    return ContainerSpec(image, environment=named)


def _answer(tried: Trial, backend: str) -> str:
    status, answer = tried.ask("/v1/recommendations", BODY, tried.key, **{"X-Backend": backend})
    _expect(status == 200, f"{backend} answers {status}: {answer}")
    return f"{answer['backend']} says {answer['action']} ({answer['conviction']})"


def _healthy(tried: Trial, image: str) -> None:
    """Run the image's health check command on the gateway's network."""
    check: dict[str, Any] = tried.engine.config(image)["Healthcheck"]
    kind, *command = check["Test"]
    _expect(kind == "CMD", f"the health check is a {kind}")
    for port, healthy in ((tried.port, True), (1, False)):
        status, output = _run(tried.engine, ContainerSpec(image, command, {"CONVICTION_PORT": str(port)}))
        _expect((status == 0) is healthy, f"on port {port} the health check ended with {status}: {output}")


def _run(engine: Engine, spec: ContainerSpec) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder, engine.running(spec, Path(folder) / "log") as running:
        return running.ended(RUN_S), running.output()


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise ImageError(otherwise)
