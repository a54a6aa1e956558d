"""The experiments file, reloaded when it changes: a mounted file may be replaced while the gateway runs."""

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
CHECK_INTERVAL_S = 1.0
"""The minimum time between two checks for a change."""
NO_EXPERIMENTS = Plan(experiments=())

log = logging.getLogger(__name__)


class Experiments:
    """The active experiments. Raises `InvalidSettings` for an invalid initial file; ignores a later invalid version.

    `problem` describes why the current version is invalid.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = monotonic) -> None:
        self.problem: str | None = None
        self._path, self._clock = path, clock
        self._checked, self._version = clock(), _version(path)
        self._plan = NO_EXPERIMENTS if path is None else _read(path)

    @property
    def configured(self) -> bool:
        """Whether the settings name a file."""
        return self._path is not None

    def experiment(self, detail: Detail) -> Experiment | None:
        """Return the experiment that applies to requests of a detail."""
        self.refresh()
        return self._plan.experiment(detail)

    @property
    def any(self) -> bool:
        """Whether any experiment is active."""
        self.refresh()
        return bool(self._plan.experiments)

    def refresh(self) -> None:
        """Reload the file if it has changed."""
        if self._path is None or self._clock() < self._checked + CHECK_INTERVAL_S:
            return
        self._checked = self._clock()
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._plan, self.problem = _read(self._path), None
        except InvalidSettings as error:
            self.problem = f"{error.detail}; the previous experiments stay active"
            log.error("%s", self.problem)
        else:
            log.info("experiments: %s", ", ".join(each.name for each in self._plan.experiments) or "none")


def _version(path: Path | None) -> tuple[int, ...]:
    """Return values that change when the file is written or replaced."""
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
        details = "; ".join(_describe(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False))
        raise InvalidSettings(f"{NAME}: {details}") from None
    for experiment in plan.experiments:
        _ = experiment.owners  # computed now, not during a request
    return plan


def _describe(location: tuple[int | str, ...], message: str) -> str:
    field = ".".join(map(str, location))
    return (field and f"{field}: ") + message.removeprefix("Value error, ")
