from __future__ import annotations

from app.contract.completion import Usage
from app.telemetry.labels import BASIS
from tests.doubles import PRICES


def test_the_basis_of_each_backend_is_that_of_its_price() -> None:
    usage = Usage(1, 1)
    assert {name: price.cost(usage).basis for name, price in PRICES.items()} == {name: BASIS[name] for name in PRICES}
