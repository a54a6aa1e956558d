"""The fixtures of the stores' tests (a separate database, and a clock that tests set), and a webhook's receiver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accounting.receiver import Receiver, receiving
from tests.stores.conftest import (  # noqa: F401
    admissions,
    clock,
    db_url,
    names,
    patient,
    redis,
    scripts_by_the_clock,
    store,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
