"""One evaluated question: the teacher's answer, the model's, and tokens and time. Kept beside each evaluation for
paired comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from app.contract.features import METRIC_NAMES
from app.contract.prompt import Detail
from app.contract.recommendation import Action, Conviction
from training.artifacts import faults, write_rows
from training.evaluation.clients import Prediction
from training.evaluation.pairs import Pair

DETAILS: tuple[Detail, ...] = ("brief", "full")
"""Details in the order of evaluation and report."""

Key = tuple[object, ...]


class Source(NamedTuple):
    """What gave an answer: model, detail, and form and dtype of its weights where known."""

    model: str
    detail: Detail
    form: str | None = None
    dtype: str | None = None


class Row(BaseModel):
    """A line of the file; `predicted` is null if there is no answer, for the reason in `failure`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: str
    as_of: date | None
    detail: Detail
    model: str
    form: str | None = None
    dtype: str | None = None
    metrics: dict[str, float]
    missing: int
    """Number of the contract's metrics that the question lacks."""
    truth: Action
    truth_conviction: Conviction
    predicted: Action | None = None
    predicted_conviction: Conviction | None = None
    probabilities: dict[Action, float] | None = None
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Latency of the answer."""
    at: float = 0.0
    """Seconds from the start of the evaluation to this answer."""

    @property
    def hit(self) -> bool:
        """Whether the model's action is the teacher's; a failure is a miss."""
        return self.predicted == self.truth

    @property
    def source(self) -> Source:
        return Source(self.model, self.detail, self.form, self.dtype)

    @property
    def key(self) -> Key:
        """Identity of the question, independent of model and detail."""
        return self.ticker, self.as_of, *sorted(self.metrics.items())


def key_of(pair: Pair) -> Key:
    """Return the key of the pair's row."""
    return pair.ticker, pair.metrics.as_of, *sorted(pair.metrics.values().items())


def row(pair: Pair, prediction: Prediction, source: Source, at: float) -> Row:
    """Return the row of a model's prediction for a pair."""
    return Row(
        ticker=pair.ticker,
        as_of=pair.metrics.as_of,
        **source._asdict(),
        metrics=pair.metrics.values(),
        missing=len(METRIC_NAMES) - len(pair.metrics.values()),
        truth=pair.truth.action,
        truth_conviction=pair.truth.conviction,
        predicted=prediction.action,
        predicted_conviction=prediction.conviction,
        probabilities=None if prediction.probabilities is None else dict(prediction.probabilities),
        failure=prediction.failure,
        prompt_tokens=prediction.prompt_tokens,
        completion_tokens=prediction.completion_tokens,
        seconds=prediction.seconds,
        at=at,
    )


def rows_path(out: Path) -> Path:
    """Return the path of the rows of evaluation `out`: brief-awq.json -> brief-awq.rows.jsonl."""
    return out.with_name(f"{out.stem}.rows.jsonl")


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows atomically."""
    write_rows(path, (one.model_dump(mode="json") for one in rows))


def read(path: Path) -> list[Row]:
    """Return the rows. Raises `ValueError` naming file, line and field of the first malformed row."""
    return [_read(path, number, line) for number, line in enumerate(path.read_text().splitlines(), 1)]


def read_unfinished(path: Path) -> list[Row]:
    """Return the rows of a file whose writer may have died; an incomplete last line is ignored."""
    complete, _, _ = path.read_text().rpartition("\n")
    return [_read(path, number, line) for number, line in enumerate(complete.splitlines(), 1)]


def _read(path: Path, number: int, line: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"{path}, line {number}: {faults(error, 'row')[0]}") from None
