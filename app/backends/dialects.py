"""How the kinds of server that speak OpenAI's protocol differ in what they want to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from app.contract.probabilities import TOP_LOGPROBS
from app.contract.prompt import Detail, Message
from app.contract.recommendation import ANSWER_TOKENS, response_format


@dataclass(frozen=True)
class Dialect:
    """What one kind of server takes, and which settings to name when it cannot be asked."""

    limit_name: Literal["max_tokens", "max_completion_tokens"]
    url_setting: str
    model_setting: str
    key_setting: str | None = None
    bounded_strings: bool = False
    """Grammars here take minLength and maxLength."""
    sampled: bool = True
    """Takes a temperature, and gives log-probabilities."""
    seed: int | None = None
    reasoning_effort: Literal["none", "low"] | None = None
    reasoning_tokens: int = 0
    """Room for thoughts before the answer; they are billed as output and counted in usage."""
    fresh_s: float = 1.0
    """Seconds for which a check that passed, or an answer, vouches for the server."""
    continuous_usage: bool = False
    """Tells with every event what has been used so far, when asked to."""
    idle_s: float = 4.0
    """Seconds for which an idle connection is kept: less than the server keeps it, or a call may be lost on it."""

    def request(self, model: str, messages: Sequence[Message], detail: Detail) -> dict[str, Any]:
        """The body of a streamed chat completion."""
        body: dict[str, Any] = {
            "model": model,
            "messages": list(messages),
            "response_format": response_format(detail, bounded=self.bounded_strings),
            self.limit_name: ANSWER_TOKENS[detail] + self.reasoning_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.sampled:
            body |= {"temperature": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if self.continuous_usage:
            body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        optional = {"seed": self.seed, "reasoning_effort": self.reasoning_effort}
        return body | {name: value for name, value in optional.items() if value is not None}


VLLM = Dialect(
    "max_tokens",
    url_setting="CONVICTION_VLLM_URLS",
    model_setting="CONVICTION_VLLM_URLS",
    bounded_strings=True,
    continuous_usage=True,
)

SAGEMAKER = replace(
    VLLM,
    url_setting="CONVICTION_SAGEMAKER_ENDPOINT",
    model_setting="CONVICTION_SAGEMAKER_MODEL",
    key_setting="the AWS credentials and what they may do",
    fresh_s=15.0,  # a check is a token that is made
    idle_s=20.0,
)
"""vLLM as well, behind SageMaker's runtime."""


def openai_dialect(model: str) -> Dialect:
    """OpenAI's own, by model family.

    The GPT-4 family samples. Later ones reason, and take a temperature and log-probabilities only with
    reasoning off; those that cannot turn it off reason as little as they may.
    """

    def dialect(**options: Any) -> Dialect:
        return Dialect(
            "max_completion_tokens",
            url_setting="OPENAI_BASE_URL",
            model_setting="CONVICTION_GPT4_MODEL",
            key_setting="OPENAI_API_KEY",
            fresh_s=15.0,
            idle_s=60.0,
            **options,
        )

    if model.startswith("gpt-4"):
        return dialect(seed=0)
    if model.startswith(("gpt-6.1-sol", "gpt-6-astra")):
        return dialect(sampled=False, reasoning_effort="low", reasoning_tokens=8000)
    return dialect(reasoning_effort="none")
