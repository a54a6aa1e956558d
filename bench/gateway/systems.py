"""A system to measure, what all of them share, and two of them: the upstream itself and Conviction, one worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.gateway.programs import HERE, Process, free_port, running
from bench.gateway.upstream import Upstream
from bench.gateway.workload import KEY as UPSTREAM_KEY
from bench.gateway.workload import MODEL, Task, chat, recommendation

ROOT = HERE.parents[1]
KEY = "sk-bench-0123456789abcdef0123456789"
AMPLE = {"REQUESTS_PER_MINUTE": "100000000", "TOKENS_PER_MINUTE": "100000000", "USD_PER_DAY": "1000000"}
"""Limits that are enforced and never reached."""


@dataclass(frozen=True)
class System:
    name: str
    port: int
    key: str
    whole: Task
    stream: Task
    process: Process | None = None
    """None for the upstream itself."""
    recommendation: Task | None = None
    imported: Sequence[str] = ()
    """The command that imports Conviction's application; empty for others."""


@dataclass(frozen=True)
class Environment:
    """What the systems share: upstreams, store, cores and a folder for files and logs."""

    chat: Upstream
    hosted: Upstream
    store_port: int
    cores: Sequence[int]
    folder: Path
    environments: Path
    """The folder with a separate environment for each rival."""
    python: Sequence[str] = (sys.executable,)
    """What runs Conviction."""
    tree: Path = ROOT
    """Another checkout of this repository."""

    def __post_init__(self) -> None:
        (self.folder / "keys").write_text(f"bench:{KEY}\n")


def direct(environment: Environment) -> System:
    tasks = chat(environment.folder, MODEL), chat(environment.folder, MODEL, stream=True)
    return System("direct", environment.chat.port, UPSTREAM_KEY, *tasks)


def conviction(environment: Environment) -> AbstractContextManager[System]:
    return _conviction("conviction", environment, ROOT, environment.python, database=0)


def other_tree(environment: Environment) -> AbstractContextManager[System]:
    """Another checkout, run by the Python of its `.envs/gateway` if it has one; the store's formats may differ."""
    own = environment.tree / ".envs/gateway/bin/python"
    python = [str(own)] if own.exists() else environment.python
    return _conviction("tree", environment, environment.tree, python, database=1)


@contextmanager
def _conviction(
    name: str, environment: Environment, tree: Path, python: Sequence[str], database: int
) -> Iterator[System]:
    """With a key, limits and budgets of every kind, the ledger, metrics; both backends."""
    port = free_port()
    variables = {
        "CONVICTION_PORT": str(port),
        "CONVICTION_API_KEYS_FILE": str(environment.folder / "keys"),
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": f"{environment.chat.url}/v1",
        "CONVICTION_GPT4_MODEL": MODEL,
        "CONVICTION_VLLM_URLS": f"{environment.hosted.url}/v1",
        "CONVICTION_HOSTING_USD_PER_HOUR": "0.10",
        "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "100000",
        "CONVICTION_MARKET": "sample",
        "REDIS_URL": f"redis://127.0.0.1:{environment.store_port}/{database}",
        **{f"CONVICTION_{of}_{name}": value for of in ("KEY", "GPT4", "MISTRAL") for name, value in AMPLE.items()},
    }
    python = ["env", "-C", str(tree), *python]  # `-m` and `-c` import from the working directory
    with running(
        [*python, "-m", "app.cli", "serve"], environment.cores, environment.folder / f"{name}.log", variables
    ) as process:
        process.wait_for(f"http://127.0.0.1:{port}/health/live")
        tasks = chat(environment.folder, "gpt-4"), chat(environment.folder, "gpt-4", stream=True)
        imported = [*python, "-c", "import app.main"]
        yield System(name, port, KEY, *tasks, process, recommendation(environment.folder), imported)
