"""Validation of a folder of market data: the types of its columns, and values that would be read wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from app.market.provider import BAR_COLUMNS

BAR_FILES, CHAIN_FILES = "ohlcv*.parquet", "options*.parquet"

ISO_DAY = r"\d{4}-?\d{2}-?\d{2}"

MAX_MEDIAN_IV = 5.0
"""A fraction; a chain with a higher median states percent."""

ColumnType = tuple[str, Callable[[pa.DataType], bool]]


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _is_day(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind) or _is_text(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


TEXT: ColumnType = ("text", _is_text)
DAY: ColumnType = ("a date", _is_day)
NUMBER: ColumnType = ("a number", _is_number)

BARS = {"ticker": TEXT, "date": DAY, **dict.fromkeys(BAR_COLUMNS, NUMBER)}
BARS_OPTIONAL = {"adj_close": NUMBER}
CHAINS = {"ticker": TEXT, "as_of": DAY, "side": TEXT, "expiry": DAY, "strike": NUMBER, "lastPrice": NUMBER}
CHAINS |= {"volume": NUMBER, "openInterest": NUMBER, "impliedVolatility": NUMBER}

Columns = Mapping[str, ColumnType]
NO_COLUMNS: Columns = {}


def find_problems(folder: Path) -> list[str]:
    """Return every problem that makes the folder unusable, with its file and column."""
    if not folder.is_dir():
        return ["no such folder"]
    bars, chains = sorted(folder.glob(BAR_FILES)), sorted(folder.glob(CHAIN_FILES))
    problems = [] if bars else [f"no file {BAR_FILES}"]
    for path in bars:
        problems += file_problems(path, BARS, BARS_OPTIONAL)
    for path in chains:
        problems += file_problems(path, CHAINS)
    return problems


def file_problems(path: Path, needed: Columns, optional: Columns = NO_COLUMNS) -> Iterator[str]:
    """Yield every problem of a file, with its column."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        yield f"{path.name}: cannot be read: {_one_line(error)}"
        return
    with file:
        types = {field.name: field.type for field in file.schema_arrow}
        if file.metadata.num_rows == 0:
            yield f"{path.name}: no rows"
        for column, (name, fits) in {**needed, **optional}.items():
            if column in needed and column not in types:
                yield f"{path.name}: column {column} is missing"
            elif column in types and not fits(types[column]):
                yield f"{path.name}: column {column} is {types[column]}, not {name}"
            elif column in types and file.metadata.num_rows:
                yield from _column_problems(file, path.name, column, fits)


def _column_problems(
    file: pq.ParquetFile, name: str, column: str, fits: Callable[[pa.DataType], bool]
) -> Iterator[str]:
    try:
        values = file.read([column]).to_pandas()[column]
    except (OSError, pa.ArrowException) as error:
        yield f"{name} in the market data folder cannot be read: column {column}: {_one_line(error)}"
        return
    yield from (f"{name}: column {column} has {problem}" for problem in _value_problems(values, fits))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _value_problems(values: pd.Series[Any], fits: Callable[[pa.DataType], bool]) -> Iterator[str]:
    if fits is _is_day:
        yield from _day_problems(values)
    elif fits is _is_text:
        texts = values.astype("str").where(values.notna(), "")
        yield from _wrong(values, (texts == "") | (texts != texts.str.strip()), "empty or padded")
        if values.name == "side":
            yield from _wrong(values, ~texts.isin(["call", "put"]), "neither call nor put")
    else:
        numbers = values.astype("float64")
        if values.name in ("volume", "openInterest"):
            yield from _wrong(values, numbers < 0, "negative")
        if values.name == "impliedVolatility" and numbers[numbers > 0].median() > MAX_MEDIAN_IV:
            yield "percentages, not fractions"


def _day_problems(values: pd.Series[Any]) -> Iterator[str]:
    """Check that days were stored as days, or as text such as 2017-01-03: others are read as other days."""
    written = values.map(lambda value: isinstance(value, str))
    iso = ~written | values.astype("str").str.match(ISO_DAY)
    days = pd.to_datetime(values.where(iso), errors="coerce", format="ISO8601", utc=True)
    yield from _wrong(values, days.isna(), "not dates")
    if values.name != "expiry":
        # A number that was taken for nanoseconds is 1970-01-01, on which no market was open.
        beyond = (days.dt.normalize() == pd.Timestamp(0, tz=UTC)) | (days > datetime.now(UTC) + pd.Timedelta(days=1))
        yield from _wrong(values, beyond, "not days of trading")


def _wrong(values: pd.Series[Any], wrong: pd.Series[bool], what: str) -> Iterator[str]:
    if wrong.any():
        yield f"{int(wrong.sum())} values that are {what}, the first {values[wrong].iloc[0]!r}"
