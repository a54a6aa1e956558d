"""One examined question: what the teacher said, what the model said, and what it took. Kept beside each evaluation,
so that any two can be compared later, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from app.contract.features import METRIC_NAMES
from app.contract.prompt import Detail
from app.contract.recommendation import Action, Conviction
from training.artifacts import write_rows
from training.evaluation.asking import Asked
from training.evaluation.pairs import Pair

DETAILS: tuple[Detail, ...] = ("brief", "full")
"""In the order in which they are judged and reported."""

Key = tuple[object, ...]


class Row(BaseModel):
    """A line of the file; `said` is null where `failure` says why there is no answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: str
    as_of: date | None
    detail: Detail
    model: str
    metrics: dict[str, float]
    missing: int
    """How many of the contract's metrics were not given."""
    truth: Action
    truth_conviction: Conviction
    said: Action | None = None
    said_conviction: Conviction | None = None
    probabilities: dict[Action, float] | None = None
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """From the question to the end of its answer."""
    at: float = 0.0
    """Seconds of asking, from the first question of the evaluation to this answer."""

    @property
    def hit(self) -> bool:
        """Whether the model said what the teacher said; a failure is a miss."""
        return self.said == self.truth

    @property
    def key(self) -> Key:
        """The same for the same question, whoever is asked it and at whatever detail."""
        return self.ticker, self.as_of, *sorted(self.metrics.items())


def key_of(pair: Pair) -> Key:
    """The key that the pair's row will have."""
    return pair.ticker, pair.metrics.as_of, *sorted(pair.metrics.values().items())


def row(pair: Pair, asked: Asked, detail: Detail, model: str, at: float) -> Row:
    """What came of asking `model` for a pair."""
    return Row(
        ticker=pair.ticker,
        as_of=pair.metrics.as_of,
        detail=detail,
        model=model,
        metrics=pair.metrics.values(),
        missing=len(METRIC_NAMES) - len(pair.metrics.values()),
        truth=pair.truth.action,
        truth_conviction=pair.truth.conviction,
        said=asked.action,
        said_conviction=asked.conviction,
        probabilities=None if asked.probabilities is None else dict(asked.probabilities),
        failure=asked.failure,
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=asked.completion_tokens,
        seconds=asked.seconds,
        at=at,
    )


def path_beside(out: Path) -> Path:
    """Where the rows of the evaluation `out` lie: brief-awq.json -> brief-awq.rows.jsonl."""
    return out.with_name(f"{out.stem}.rows.jsonl")


def write(path: Path, rows: Iterable[Row]) -> None:
    """Whole or not at all."""
    write_rows(path, (one.model_dump(mode="json") for one in rows))


def read(path: Path) -> list[Row]:
    """Raises `ValueError` naming file, line and field of the first row that is malformed."""
    return [_read(path, number, line) for number, line in enumerate(path.read_text().splitlines(), 1)]


def read_unfinished(path: Path) -> list[Row]:
    """The rows of a file that was being appended to when its writer died: a torn last line is not a row."""
    whole, _, _ = path.read_text().rpartition("\n")
    return [_read(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]


def _read(path: Path, number: int, line: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        first: Mapping[str, object] = dict(error.errors(include_url=False, include_input=False)[0])
        where = ".".join(map(str, error.errors()[0]["loc"])) or "row"
        raise ValueError(f"{path}, line {number}: {where}: {first['msg']}") from None
