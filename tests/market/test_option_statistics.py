"""Option statistics against sums computed by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pytest

from app.contract.features import Options
from app.market.option_statistics import compute_option_statistics
from app.market.provider import Chain

DAY = date(2024, 3, 8)


def contract(side: str, expiry: str = "2024-03-15", **values: float | None) -> dict[str, Any]:
    usual = {
        "strike": 100.0,
        "lastPrice": 2.0,
        "volume": 10.0,
        "openInterest": 100.0,
        "impliedVolatility": 0.3,
    }
    return {"side": side, "expiry": pd.Timestamp(expiry)} | usual | values


def chain(*contracts: dict[str, Any]) -> Chain:
    return Chain("SYNA", DAY, pd.DataFrame(list(contracts)))


def test_the_case_studys_figures() -> None:
    """SNPS: put volume 1947 to call volume 268 is 7.26, IV 57.40 less 68.32 is -10.92."""
    found, excluded = compute_option_statistics(
        chain(
            contract("call", lastPrice=100.0, volume=200.0, openInterest=9000.0, impliedVolatility=0.60),
            contract("call", lastPrice=55.74, volume=68.0, openInterest=455.0, impliedVolatility=0.548),
            contract("put", lastPrice=23.0, volume=1947.0, openInterest=11688.0, impliedVolatility=0.6832),
        )
    )
    assert found == pytest.approx(
        {
            "call_iv_avg": 57.40,
            "put_iv_avg": 68.32,
            "iv_skew": -10.92,
            "call_last_price_avg": 77.87,
            "put_last_price_avg": 23.00,
            "call_volume": 268,
            "put_volume": 1947,
            "put_call_ratio": 7.264925,
            "call_open_interest": 9455,
            "put_open_interest": 11688,
        }
    )
    assert excluded == {}
    Options.model_validate(found)


def test_unusable_volatilities_are_excluded_and_counted() -> None:
    found, excluded = compute_option_statistics(
        chain(
            contract("call", impliedVolatility=0.0),
            contract("call", impliedVolatility=0.4),
            contract("call", impliedVolatility=5.01),
            contract("call", impliedVolatility=None),
            contract("put", impliedVolatility=5.0),
        )
    )
    assert found["call_iv_avg"] == 40.0
    assert found["put_iv_avg"] == 500.0
    assert excluded == {"call_implied_volatility": 3}


def test_sums_and_means_skip_nan() -> None:
    found, _ = compute_option_statistics(
        chain(contract("call", volume=None, lastPrice=None), contract("call", volume=7.0, lastPrice=3.0))
    )
    assert found["call_volume"] == 7
    assert found["call_last_price_avg"] == 3.0


def test_no_calls_traded_means_no_ratio() -> None:
    found, _ = compute_option_statistics(chain(contract("call", volume=0.0), contract("put", volume=5.0)))
    assert found["call_volume"] == 0
    assert "put_call_ratio" not in found


def test_a_side_without_contracts_is_absent() -> None:
    found, _ = compute_option_statistics(chain(contract("put")))
    assert {name.split("_")[0] for name in found} == {"put"}


def test_scope_of_expiries() -> None:
    contracts = chain(
        contract("call", "2024-03-07", volume=1000.0),
        contract("call", "2024-03-08", volume=1.0),
        contract("call", "2024-04-19", volume=20.0),
    )
    assert compute_option_statistics(contracts, "nearest")[0]["call_volume"] == 1
    assert compute_option_statistics(contracts, "all")[0]["call_volume"] == 21


def test_expired_contracts_alone_give_no_statistics() -> None:
    assert compute_option_statistics(chain(contract("call", "2024-03-01"))) == ({}, {})


@pytest.mark.parametrize("placeholder", [0.00001, 0.0078, 0.0156])
def test_placeholder_volatilities_are_excluded_and_counted(placeholder: float) -> None:
    alone, excluded = compute_option_statistics(chain(contract("call", impliedVolatility=placeholder)))
    assert "call_iv_avg" not in alone
    assert excluded == {"call_implied_volatility": 1}
    half = chain(contract("call", impliedVolatility=placeholder), contract("call", impliedVolatility=0.4))
    assert compute_option_statistics(half)[0]["call_iv_avg"] == 40.0


@pytest.mark.parametrize("quote", [{"bid": 0.0, "ask": 0.0}, {"bid": 3.0, "ask": 2.0}, {"lastPrice": 0.0}])
def test_contracts_without_a_price_imply_no_volatility(quote: dict[str, float]) -> None:
    quoted = {"bid": 1.9, "ask": 2.1} if "bid" in quote else {}
    found, excluded = compute_option_statistics(
        chain(contract("put", **quoted, impliedVolatility=0.4), contract("put", **quote, impliedVolatility=0.2))
    )
    assert found["put_iv_avg"] == 40.0
    assert found["put_last_price_avg"] == 2.0
    assert excluded == {"put_implied_volatility": 1}
