"""The file of experiments, read again whenever it has changed: a mounted one is exchanged while the gateway runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pydantic import ValidationError

from app.contract.prompt import Detail
from app.errors import InvalidSettings
from app.routing.experiments import Experiment, Plan

NAME = "CONVICTION_EXPERIMENTS_FILE"
LOOK_S = 1.0
"""The file is looked at so often at most."""
NONE = Plan(experiments=())

log = logging.getLogger(__name__)


class Experiments:
    """The plan in force. Raises `InvalidSettings` where the first is none; a later one that is none changes nothing.

    `problem` says what is wrong with the file as it is now.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = monotonic) -> None:
        self.problem: str | None = None
        self._path, self._clock = path, clock
        self._looked, self._seen = clock(), _state(path)
        self._plan = NONE if path is None else _read(path)

    @property
    def named(self) -> bool:
        """Whether the settings name a file."""
        return self._path is not None

    def experiment(self, detail: Detail) -> Experiment | None:
        """The one that requests of a detail take part in now."""
        self.refresh()
        return self._plan.experiment(detail)

    @property
    def any(self) -> bool:
        """Whether there are any now."""
        self.refresh()
        return bool(self._plan.experiments)

    def refresh(self) -> None:
        """Take over what has changed."""
        if self._path is None or self._clock() < self._looked + LOOK_S:
            return
        self._looked = self._clock()
        state = _state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._plan, self.problem = _read(self._path), None
        except InvalidSettings as error:
            self.problem = f"{error.detail}; the experiments from before are still in force"
            log.error("%s", self.problem)
        else:
            log.info("experiments: %s", ", ".join(each.name for each in self._plan.experiments) or "none")


def _state(path: Path | None) -> tuple[int, ...]:
    """What is different once the file was written or another put in its place."""
    try:
        found = path and path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found else ()


def _read(path: Path) -> Plan:
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except OSError:
        raise InvalidSettings(f"{NAME}: the file cannot be read") from None
    except ValidationError as error:
        wrong = "; ".join(_told(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False))
        raise InvalidSettings(f"{NAME}: {wrong}") from None
    for experiment in plan.experiments:
        _ = experiment.owners  # dealt out now, and not while somebody waits
    return plan


def _told(where: tuple[int | str, ...], what: str) -> str:
    place = ".".join(map(str, where))
    return (place and f"{place}: ") + what.removeprefix("Value error, ")
