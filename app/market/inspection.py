"""Validation of a folder of market data by its files' schemas, before any file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from app.market.parquet import BAR_FILES, CHAIN_COLUMNS, CHAIN_FILES
from app.market.provider import BAR_COLUMNS

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
CHAINS = {"ticker": TEXT, "as_of": DAY, **dict.fromkeys(CHAIN_COLUMNS, NUMBER), "side": TEXT, "expiry": DAY}


def find_problems(folder: Path) -> list[str]:
    """Return every problem that makes the folder unusable, with its file and column."""
    if not folder.is_dir():
        return ["no such folder"]
    bars, chains = sorted(folder.glob(BAR_FILES)), sorted(folder.glob(CHAIN_FILES))
    problems = [] if bars else [f"no file {BAR_FILES}"]
    for path in bars:
        problems += _file_problems(path, BARS, BARS_OPTIONAL)
    for path in chains:
        problems += _file_problems(path, CHAINS, {})
    return problems


def _file_problems(path: Path, needed: Mapping[str, ColumnType], optional: Mapping[str, ColumnType]) -> Iterator[str]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        yield f"{path.name}: cannot be read: {' '.join(str(error).split())}"
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
            elif column in types and fits is _is_day and _is_text(types[column]):
                yield from _unreadable_days(file, path.name, column)


def _unreadable_days(file: pq.ParquetFile, name: str, column: str) -> Iterator[str]:
    """Check dates that are stored as text, such as 2017-01-03."""
    texts = file.read([column]).to_pandas()[column]
    wrong = texts[pd.to_datetime(texts, errors="coerce", format="ISO8601").isna()]
    if len(wrong):
        yield f"{name}: column {column} has {len(wrong)} values that are not dates, the first {wrong.iloc[0]!r}"
