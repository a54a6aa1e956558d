from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from app.contract.completion import BackendName, Completion, Usage
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import BackendUnavailable
from app.supervisor import golden
from app.supervisor.failures import WrongAnswers
from app.supervisor.weights import Weights, choose
from tests.supervisor.conftest import Store


class Scripted:
    """A backend that returns the scripted texts and raises the scripted exceptions."""

    name: BackendName = "mistral"
    model = "toy"

    def __init__(self, *script: str | Exception) -> None:
        self.script: Iterator[str | Exception] = iter(script)
        self.prompts: list[str] = []

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        assert detail == "brief"
        self.prompts.append(messages[0]["content"])
        answer = next(self.script)
        if isinstance(answer, Exception):
            raise answer
        return Completion(
            text=answer,
            model=self.model,
            usage=Usage(100, 10),
            probabilities=None,
            time_to_first_token=None,
            duration=0.1,
            stand_in=False,
        )

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return


@pytest.fixture
def weights(store: Store) -> Weights:
    return choose(store.store, store.models, "awq", foreign=False)


def verdict(action: str) -> str:
    return f'{{"action":"{action}","conviction":6}}'


async def test_a_new_build_that_answers_as_published_passes_once(weights: Weights) -> None:
    backend = Scripted(verdict("buy"))
    await golden.check(backend, weights)
    await golden.check(backend, weights)
    assert len(backend.prompts) == 1
    assert "SNPS" in backend.prompts[0]


async def test_a_build_that_answers_differently_fails_each_time(weights: Weights) -> None:
    for _ in range(2):
        with pytest.raises(WrongAnswers, match=r"as published: SNPS: sell, recorded buy$"):
            await golden.check(Scripted(verdict("sell")), weights)
    assert WrongAnswers.status == 3


async def test_a_prompt_is_sent_until_it_is_answered() -> None:
    unavailable = BackendUnavailable("mistral cannot be reached")
    backend = Scripted(unavailable, unavailable, verdict("hold"))
    async with asyncio.timeout(5):
        await golden.wait_until_answering(backend, 0.001)
    assert len(backend.prompts) == 3
