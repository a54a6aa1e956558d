"""One question to both backends concurrently, with the same metrics, and the stored pair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from app.auth.principal import local_principal
from app.comparison.compare import Compared, compare, store_pair
from app.comparison.pairs import Pair
from app.completions.request import RequestOptions
from app.contract.completion import BACKEND_NAMES, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail
from app.contract.recommendation import BriefAnswer, FullAnswer, canonical
from app.deadline import Deadline
from app.errors import BackendError, ConvictionError, Overloaded, RateLimited, StoreUnavailable, UnknownTicker
from app.market.sample import SampleProvider
from app.pricing.limits import Limits
from app.recommend import Question
from app.resources import Resources
from tests.doubles import Broken, BrokenProvider, CountingBackend, Gateway, completion, gateway, ledger

BUY = completion(canonical(BriefAnswer(action="buy", conviction=8)))
SELL = completion(canonical(BriefAnswer(action="sell", conviction=3)), probabilities=None, stand_in=True)


def question(detail: Detail = "brief") -> Question:
    return Question("snps", None, EXAMPLE, detail)


def terms(seconds: float = 30, **allowed: int) -> RequestOptions:
    return RequestOptions(local_principal(Limits(**allowed)), Deadline.after(seconds))


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, cache_s=3600) as running:
        yield running


async def comparing_with(question: Question, options: RequestOptions, resources: Resources) -> Compared:
    return await compare(
        question, options, resources.recommender, resources.upstreams, resources.comparisons, resources.collectors
    )


async def kept(running: Gateway) -> Sequence[Pair]:
    return (await running.resources.comparisons.page(None, 100))[0]


def pairs_of(running: Gateway, mistral: str, gpt4: str) -> float:
    return running.sample("conviction_ab_pairs_total", mistral_action=mistral, gpt4_action=gpt4)


async def test_both_answer_the_same_prompt_and_the_pair_is_stored(running: Gateway) -> None:
    running.mistral.script, running.backends["gpt-4"].script = [BUY], [SELL]
    compared = await comparing_with(question(), terms(), running.resources)
    assert running.mistral.asked == running.backends["gpt-4"].asked
    assert await kept(running) == [compared.pair]
    assert compared.stored
    pair = compared.pair
    assert (pair.ticker, pair.as_of, pair.detail, pair.origin, pair.agree) == (
        *("SNPS", EXAMPLE.as_of, "brief", "comparison", False),
    )
    mistral, gpt4 = pair.sides["mistral"], pair.sides["gpt-4"]
    assert (mistral.action, mistral.conviction, mistral.stand_in) == ("buy", 8, False)
    assert mistral.probabilities == {"buy": 0.7, "sell": 0.1, "hold": 0.2}
    assert (gpt4.action, gpt4.conviction, gpt4.probabilities, gpt4.stand_in) == ("sell", 3, None, True)
    assert (mistral.input_tokens, mistral.cached_tokens, mistral.output_tokens) == (400, 100, 11)
    assert (mistral.ttft_ms, mistral.ms_per_token, mistral.figures) == (100, 40, None)
    answer = compared.outcomes["gpt-4"]
    assert not isinstance(answer, ConvictionError)
    assert gpt4.nano_usd == (await ledger(running, "gpt-4"))["nano_usd"] == round(float(answer.cost.usd) * 1e9)
    assert pairs_of(running, "buy", "sell") == 1


async def test_they_are_asked_at_once(running: Gateway) -> None:
    for backend in running.backends.values():
        backend.go = asyncio.Event()
    comparing = asyncio.create_task(comparing_with(question(), terms(), running.resources))
    for backend in running.backends.values():
        await backend.began()
    for backend in running.backends.values():
        assert backend.go is not None
        backend.go.set()
    assert (await comparing).pair.agree is True


async def test_comparisons_neither_read_nor_write_the_cache(running: Gateway) -> None:
    for _ in range(3):
        await comparing_with(question(), terms(), running.resources)
    assert running.asked == 6
    assert running.sample("conviction_cache_requests_total", result="miss") == 6
    assert not [key async for key in running.resources.redis.scan_iter("conviction:answer:*")]


@pytest.mark.parametrize("failing", BACKEND_NAMES)
async def test_one_that_fails_leaves_the_other_s_answer_standing(running: Gateway, failing: str) -> None:
    limit_status = next(name for name in BACKEND_NAMES if name != failing)
    broken: CountingBackend = running.backends[failing]  # type: ignore[index]
    broken.script = [Broken("{", BackendError("no"), Usage(400, 1))]
    compared = await comparing_with(question(), terms(), running.resources)
    assert isinstance(compared.outcomes[failing], BackendError)  # type: ignore[index]
    assert compared.pair.sides[limit_status].action is not None
    side = compared.pair.sides[failing]  # type: ignore[index]
    assert (side.failure, side.action) == ("backend_error", None)
    assert await kept(running) == [compared.pair]
    action = str(compared.pair.sides[limit_status].action)
    assert pairs_of(running, *(("error", action) if failing == "mistral" else (action, "error"))) == 1
    assert running.sample("conviction_requests_total", backend=failing, detail="brief", outcome="backend_error") == 1
    assert running.sample("conviction_requests_total", backend=limit_status, detail="brief", outcome="ok") == 1


async def test_an_unexpected_error_leaves_the_other_answer(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    running.mistral.script = [Broken("{", ValueError("a path: /root"))]
    compared = await comparing_with(question(), terms(), running.resources)
    assert compared.pair.sides["mistral"].failure == "internal_error"
    assert "/root" not in compared.outcomes["mistral"].detail  # type: ignore[union-attr]
    assert compared.pair.sides["gpt-4"].action is not None
    assert "unexpected error" in caplog.text


async def test_one_that_takes_too_long_does_not_take_the_other_with_it(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    compared = await comparing_with(question(), terms(4), running.resources)
    assert compared.pair.sides["mistral"].failure == "deadline_exceeded"
    assert compared.pair.sides["gpt-4"].action is not None
    await running.mistral.streams[0].left.wait()


async def test_each_side_counts_against_limits_and_a_refused_pair_is_not_stored(running: Gateway) -> None:
    limited = {"requests_per_minute": 1}
    compared = await comparing_with(question(), terms(**limited), running.resources)
    failures = {side.failure for side in compared.pair.sides.values()}
    assert failures == {None, "rate_limited"}
    with pytest.raises(RateLimited):
        await comparing_with(question(), terms(**limited), running.resources)
    assert len(await kept(running)) == 1


async def test_full_lines_are_a_refusal(own_store: str) -> None:
    async with gateway(
        own_store, mistral_max_concurrency=1, mistral_queue_size=0, gpt4_max_concurrency=1, gpt4_queue_size=0
    ) as running:
        for backend in running.backends.values():
            backend.go = asyncio.Event()
        first = asyncio.create_task(comparing_with(question(), terms(), running.resources))
        for backend in running.backends.values():
            await backend.began()
        with pytest.raises(Overloaded):
            await comparing_with(question(), terms(), running.resources)
        for backend in running.backends.values():
            assert backend.go is not None
            backend.go.set()
        await first


async def test_metrics_are_looked_up_once_for_both(own_store: str) -> None:
    async with gateway(own_store, provider=SampleProvider()) as running:
        compared = await comparing_with(Question("AAPL", None, None, "brief"), terms(), running.resources)
        one, other = compared.outcomes.values()
        assert not isinstance(one, ConvictionError) and not isinstance(other, ConvictionError)
        assert one.metrics == other.metrics
        assert one.metrics_source == other.metrics_source is not None


async def test_without_metrics_no_backend_is_called(own_store: str) -> None:
    async with gateway(own_store, provider=BrokenProvider(UnknownTicker("no such stock"))) as running:
        with pytest.raises(UnknownTicker):
            await comparing_with(Question("NOPE", None, None, "brief"), terms(), running.resources)
        assert running.asked == 0
        assert await kept(running) == []


async def test_unsupported_figures_are_counted(running: Gateway) -> None:
    said = FullAnswer(analysis="RSI 59.4; support at $540 and $541; OBV 18.8 million", action="buy", conviction=5)
    running.mistral.script = [completion(canonical(said))]
    compared: Compared = await comparing_with(question("full"), terms(), running.resources)
    cited = compared.cited["mistral"]
    assert cited is not None
    assert cited.unsupported == ("$540",)  # 541 is SMA_50's 541.2
    side = compared.pair.sides["mistral"]
    assert (side.figures, side.unsupported) == (4, 1)
    assert compared.pair.sides["gpt-4"].unsupported == 0


async def test_without_the_store_the_answers_are_returned(
    running: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(pair: Pair) -> Pair:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(running.resources.comparisons, "append", away)
    compared = await comparing_with(question(), terms(), running.resources)
    assert not compared.stored
    assert compared.pair.agree is True
    assert running.sample("conviction_store_errors_total", store="comparisons") == 1
    assert "not stored" in caplog.text
    assert await store_pair(compared.pair, running.resources.comparisons, running.resources.collectors) is None
