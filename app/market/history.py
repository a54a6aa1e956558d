"""A stock's bars and the indicators of each bar, for charts."""

from __future__ import annotations

from array import array
from datetime import date

import numpy as np
import pandas as pd

from app.market.indicators import LONGEST_AVERAGE, compute_lines
from app.market.source import MAX_SESSIONS, History

DECIMALS = 6
EPOCH = date(1970, 1, 1).toordinal()


def history_of(bars: pd.DataFrame) -> History:
    """Return the history up to the last bar."""
    kept = bars.iloc[-(MAX_SESSIONS + LONGEST_AVERAGE - 1) :]
    days = kept.index.to_numpy().astype("datetime64[D]").astype("int64") + EPOCH
    return History(array("l", days.tolist()), array("d", kept["close"].tolist()), array("d", kept["volume"].tolist()))


def lines(history: History, sessions: int) -> dict[str, list[float | None]]:
    """Return each indicator at the last bars by its name among the metrics; null where it is undefined."""
    computed = compute_lines(np.array(history.closes), sessions)
    return {
        name: [round(float(value), DECIMALS) if np.isfinite(value) else None for value in values]
        for name, values in computed.items()
    }
