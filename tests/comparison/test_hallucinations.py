"""Invented figures are found, and what is no figure, or is one of the metrics however rounded, is not taken for one."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.hallucinations import figures
from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.recommendation import FullAnswer
from tests.contract.strategies import metrics

GPT4 = """Analyzing the provided options statistics and technical indicators for SNPS (Synopsys Inc.):

1. **Implied Volatility (IV):** The average IV for put options (68.32%) is higher than for call options (57.40%).
2. **Last Price:** put options ($23.00) compared to call options ($77.87) also support a bearish sentiment.
3. **Volume and Open Interest:** puts (1947 and 11688, respectively), calls (268 and 9455, respectively). The
put-call ratio of 7.26 further emphasizes it.
4. **Skew:** The negative IV skew (-10.92) indicates that out-of-the-money (OTM) puts are more expensive.

- **MACD:** The MACD (10.44) and its histogram (0.63) are positive.
- **RSI:** An RSI of 59.44 suggests that SNPS is neither overbought nor oversold.
- **Bollinger Bands (BB):** The BB percentage (BBP) of 0.76 indicates that the price is closer to the upper band.
- **Moving Averages:** SNPS is trading above its SMA 20, SMA 50, SMA 200, and EMA 50.
- **Stochastic Oscillator:** (STOCHk_14_3_3: 45.65 and STOCHd_14_3_3: 45.95) are in the middle range.

**Conviction Level:** 7/10."""
"""GPT-4's answer on SNPS as the case study prints it, shortened."""

NOT_INVENTED = {
    "rounded": "RSI 59, RSI 59.4, price 571.3, price $571, IV of 57.4% and 68%",
    "cut off": "On-balance volume near 18 million, RSI 59.4, put-call ratio 7.2",
    "thousands": "open interest of 11,688 puts, 11.7K, 11.7 thousand, about 12,000, and 9,500 calls",
    "as percent": "at 76% of the bands, money flow of 6%",
    "distances": "1.5% above SMA20, 17.1% above the 200-day average, 0.92 below S1, 0.2% under S1",
    "derived": "puts 10.9 points dearer, mean IV of 62.9%, 1.24 puts per call, call prices 3.39 times those of puts",
    "periods": "the 50- and 200-day averages, a 14-period RSI, 52-week, 20 EMA, SMA (50), RSI(14), MACD (12, 26, 9)",
    "names": "R1, S2, MACD_12_26_9, BBP_20_2.0, SMA20, EMA_50, CCI_14_0.015, Q3",
    "dates": "on 2024-03-08, March 8, 2024, 8 March, in March 2024, 3/8/2024",
    "lists": "1. one\n2. two\n(3) three\n12) twelve\n13. thirteen",
    "scales": "7/10, conviction 7 out of 10, on a scale of 0-100, from 1 to 10",
    "bounds": "below 70, above the 30 line, under the 80 threshold, ADX below 25, between 30 and 70, above zero, > 50",
    "counts": "two of 3 votes, +2 (1), -1 (12), bulls lead by 14, 5 of 7 indicators, the 2nd",
    "range": "S1-R2 from 568.6-583",
}


def test_the_metrics_support_every_figure_of_the_case_study_s_answer() -> None:
    found = figures(GPT4, EXAMPLE)
    assert found.unsupported == ()
    assert len(found.cited) == 16


@pytest.mark.parametrize("text", NOT_INVENTED.values(), ids=NOT_INVENTED)
def test_supported_figures_are_not_reported(text: str) -> None:
    assert figures(text, EXAMPLE).unsupported == ()


@pytest.mark.parametrize("kind", ["periods", "names", "dates", "lists", "scales", "bounds", "counts"])
def test_other_numbers_are_not_cited(kind: str) -> None:
    assert figures(NOT_INVENTED[kind], EXAMPLE).cited == ()


@given(metrics())
def test_the_rule_based_analyst_invents_nothing(metrics: Metrics) -> None:
    said = rules.answer(metrics, "full")
    assert isinstance(said, FullAnswer)
    assert figures(said.analysis, metrics).unsupported == ()


def test_figures_are_cited_whole() -> None:
    text = "STOCH K 45.6 D 46 falling; IV skew -10.9, price +1.5% above; 9455 calls at $77.87; OBV 18.8 million"
    assert figures(text, EXAMPLE).cited == ("45.6", "46", "10.9", "1.5%", "9455", "$77.87", "18.8 million")


@pytest.mark.parametrize("value", [1_000_001.0, 9_999_999.125])
def test_a_large_metric_may_be_cited_with_decimals(value: float) -> None:
    metrics = Metrics.model_validate({"price": 5.0, "options": {"call_volume": 3}, "technicals": {"SMA_20": value}})
    assert figures(f"SMA stands at {value:.3f}.", metrics).unsupported == ()
    assert figures(f"SMA stands at {value + 0.01:.3f}.", metrics).unsupported


FAR = st.integers(3_000_000, 9_000_000).map(lambda number: number * 1000 + 777)
"""Beyond any sum of what the strategies draw."""


@given(metrics(), FAR)
def test_a_figure_far_from_all_metrics_is_unsupported(metrics: Metrics, number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"${number}.25", f"{number}.5%"):
        assert figures(f"Support lies at {text} or so", metrics).unsupported == (text,)


@given(st.text(st.sampled_from("0123456789.,-+$%()/ KMkm:\n_RSIadxday"), max_size=200))
def test_any_text_is_read(text: str) -> None:
    found = figures(text, EXAMPLE)
    assert set(found.unsupported) <= set(found.cited)


@given(st.text(max_size=60))
def test_where_there_are_no_digits_there_is_no_figure(text: str) -> None:
    words = "".join(letter for letter in text if not letter.isdigit())
    assert figures(words, EXAMPLE).cited == ()


HOSTILE = {
    "periods": "1," * 16_000 + "x",
    "words of periods": "11 and " * 5000,
    "blank lines": "\n" * 32_000,
    "a name of levels": "R" + "1." * 16_000 + ".1",
    "a name of digits": "R" + "1" * 32_000 + "..1",
    "averages": "sma " + "9," * 16_000 + "1.5",
    "thousands": "1" + ",111" * 8000 + ",11",
    "figures": " ".join(f"{number % 97}.{number}" for number in range(6000)),
    "spaces": "11" + " " * 32_000 + "x",
}


@pytest.mark.parametrize("analysis", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_linear_time(analysis: str) -> None:
    """The least of three times, in which a busy machine counts little; 0.1 s here, and over 1 s if quadratic."""

    def seconds() -> float:
        began = process_time()
        figures(analysis, EXAMPLE)
        return process_time() - began

    assert min(seconds() for _ in range(3)) < 1


def test_a_number_beyond_floating_point_is_no_error() -> None:
    assert len(figures("1" + "0" * 500 + " and 0." + "0" * 500 + "1", EXAMPLE).unsupported) >= 1


@pytest.mark.parametrize("scale", ["thou\u017fand", "m\u0131llion", "\u212a"])
def test_letters_that_equal_ascii_without_case_are_no_error(scale: str) -> None:
    assert figures(f"777 {scale}", EXAMPLE).unsupported == (f"777 {scale}",)
