from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from app.contract.features import METRIC_NAMES, Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import ANSWER, LINES, TASK, Detail, evidence, figure, messages
from app.contract.recommendation import ANSWERS
from tests.contract.strategies import metrics as any_metrics

MISTRAL_LIMIT = 700


@pytest.fixture(scope="module")
def mistral() -> MistralTokenizer:
    return MistralTokenizer.v3()


@given(any_metrics())
def test_a_full_prompt_fits_mistrals_own_tokenizer(mistral: MistralTokenizer, metrics: Metrics) -> None:
    content = messages(metrics, "ABCDE.WXYZ", "full")[0]["content"]
    request = ChatCompletionRequest(messages=[UserMessage(content=content)])
    assert len(mistral.encode_chat_completion(request).tokens) <= MISTRAL_LIMIT


@pytest.mark.parametrize("detail", ANSWERS)
def test_the_shared_part_comes_first_and_the_stock_last(detail: Detail) -> None:
    (message,) = messages(EXAMPLE, "snps", detail)
    assert message["role"] == "user"
    assert message["content"].startswith(f"{TASK}{ANSWER[detail]}\n\n")
    assert message["content"].endswith("\nticker SNPS")


def test_full_shows_every_metric_of_the_worked_example() -> None:
    content = messages(EXAMPLE, "SNPS", "full")[0]["content"]
    for line in (
        "IV calls 57.4 puts 68.3 high",
        "IV skew -10.9 puts dearer",
        "last price calls 77.87 puts 23 calls far dearer",
        "put-call ratio 7.26 puts crowded",
        "SMA200 price +17.1% far above",
        "pivots S2 568.6 S1 572.2 P 575.8 R1 579.4 R2 583 under S1",
    ):
        assert f"\n{line}" in content


def test_brief_shows_readings_alone() -> None:
    shown = messages(EXAMPLE, "SNPS", "brief")[0]["content"].split("\n\n")[1].splitlines()
    assert "put-call ratio puts crowded" in shown
    assert "RSI firm" in shown
    assert not any("7.26" in line or "59.4" in line for line in shown)


@given(any_metrics())
def test_brief_shows_what_full_does_but_for_figures(metrics: Metrics) -> None:
    lines = evidence(metrics.values()).values()
    with_readings = [f"{line.label} {line.reading}" for line in lines if line.reading]
    shown = messages(metrics, None, "brief")[0]["content"].split("\n\n")[1].splitlines()
    assert shown == (with_readings or list(map(str, lines)))


def test_brief_shows_figures_where_nothing_can_be_with_readings_them() -> None:
    metrics = Metrics.model_validate({"price": 10.0, "technicals": {"MACDs_12_26_9": 0.5, "R1": 11.0}})
    assert messages(metrics, None, "brief")[0]["content"].endswith("\n\nprice 10\nMACD signal 0.5\npivots R1 11")


def test_every_metric_is_in_the_prompt() -> None:
    shown = {name for _, figures, _ in LINES for name in figures.values()}
    assert shown == set(METRIC_NAMES)


@given(any_metrics())
def test_what_is_missing_is_not_shown(metrics: Metrics) -> None:
    known = metrics.values()
    places = {key or label: set(figures.values()) for label, figures, key in LINES}
    assert set(evidence(known)) == {key for key, names in places.items() if names & known.keys()}


@given(st.floats(-1e7, 1e7), st.sampled_from([3, 4]))
def test_a_figure_keeps_its_digits(value: float, digits: int) -> None:
    text = figure(value, digits)
    factor = {"K": 1e3, "M": 1e6}.get(text[-1], 1)
    read = float(text.rstrip("KM")) * factor
    assert abs(read - value) <= max(0.51 * 10 ** (1 - digits) * abs(value), 0.00051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0001, "0"), (1947, "1947"), (11688, "11688"), (99999, "99999"), (100000, "100K"),
     (999960, "1M"), (1234567, "1.23M"), (77.87, "77.9"), (0.76, "0.76"), (-10.92, "-10.9")],
)  # fmt: skip
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text
