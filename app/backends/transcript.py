"""A streamed answer as it grows, and what it amounts to once it has ended."""

from __future__ import annotations

from app.backends.base import Completion, Usage
from app.backends.events import Event, UsageReport
from app.contract.probabilities import Token, label_probabilities
from app.errors import BackendError, UnparsedAnswer

STAND_IN = "stand-in"


class Transcript:
    """What one stream has said so far."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.stand_in = False
        self.text = ""
        self.refused = False
        self.tokens: list[Token] = []
        self.finish_reason: str | None = None
        self.usage: UsageReport | None = None

    @property
    def begun(self) -> bool:
        """Whether the model has said anything."""
        return bool(self.text) or self.refused

    def add(self, event: Event) -> None:
        self.model = event.model or self.model
        self.stand_in |= event.system_fingerprint == STAND_IN or event.model.startswith(f"{STAND_IN}/")
        self.usage = event.usage or self.usage
        for choice in event.choices[:1]:
            self.text += choice.delta.content or ""
            self.refused |= bool(choice.delta.refusal)
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.logprobs is not None:
                self.tokens += choice.logprobs.content or ()

    def completion(self, time_to_first_token: float | None, duration: float) -> Completion:
        """The whole answer; raises where there is none, or where it has no end."""
        if self.finish_reason is None:
            raise BackendError(f"{self.name} broke its answer off")
        if self.usage is None:
            raise BackendError(f"{self.name} did not say how many tokens its answer took")
        usage = _usage(self.usage)
        lack = self._lack(usage.completion_tokens)
        if lack is not None:
            raise UnparsedAnswer(lack, usage=usage)
        return Completion(
            text=self.text,
            model=self.model,
            usage=usage,
            probabilities=label_probabilities(self.tokens),
            time_to_first_token=time_to_first_token,
            duration=duration,
            stand_in=self.stand_in,
        )

    def _lack(self, tokens: int) -> str | None:
        """What keeps the text from being an answer, if anything does."""
        if self.refused:
            return f"{self.name} declined to answer"
        if self.finish_reason == "length":
            return f"{self.name}'s answer was cut at {tokens} tokens"
        if self.finish_reason == "content_filter":
            return f"{self.name}'s answer was withheld by a content filter"
        if self.finish_reason != "stop":
            return f"{self.name} ended its answer in a way that is not an answer's"
        return None if self.text else f"{self.name} gave an empty answer"


def _usage(report: UsageReport) -> Usage:
    prompt, completion = report.prompt_tokens_details, report.completion_tokens_details
    return Usage(
        report.prompt_tokens,
        report.completion_tokens,
        cached_tokens=(prompt.cached_tokens if prompt else None) or 0,
        reasoning_tokens=(completion.reasoning_tokens if completion else None) or 0,
    )
