"""The differences between the requests that OpenAI-compatible servers accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from app.contract.probabilities import TOP_LOGPROBS
from app.contract.prompt import Detail, Message
from app.contract.recommendation import ANSWER_TOKENS, response_format


@dataclass(frozen=True)
class Dialect:
    """The request options of one kind of server, and the settings to name in its errors."""

    limit_name: Literal["max_tokens", "max_completion_tokens"]
    url_setting: str
    model_setting: str
    key_setting: str | None = None
    bounded_strings: bool = False
    """Whether grammars accept minLength and maxLength."""
    sampled: bool = True
    """Whether the model accepts a temperature and returns log-probabilities."""
    seed: int | None = None
    reasoning_effort: Literal["none", "low"] | None = None
    reasoning_tokens: int = 0
    """Tokens reserved for reasoning before the answer; they are billed and counted as output."""
    health_ttl_s: float = 1.0
    """The time for which an answer or a passed check proves a server healthy."""
    continuous_usage: bool = False
    """Whether the server can report the usage with every event."""
    idle_s: float = 4.0
    """The time an idle connection is kept, shorter than the server's, which would otherwise close it under a call."""

    def request(self, model: str, messages: Sequence[Message], detail: Detail) -> dict[str, Any]:
        """Return the body of a streamed chat completion."""
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

CANDIDATE = replace(
    VLLM,
    url_setting="CONVICTION_CANDIDATE_URLS",
    model_setting="CONVICTION_CANDIDATE_MODEL or CONVICTION_CANDIDATE_URLS",
)
"""vLLM with another version of the model."""

SAGEMAKER = replace(
    VLLM,
    url_setting="CONVICTION_SAGEMAKER_ENDPOINT",
    model_setting="CONVICTION_SAGEMAKER_MODEL",
    key_setting="the AWS credentials and their permissions",
    health_ttl_s=15.0,  # a check generates a token
    idle_s=20.0,
)
"""vLLM behind SageMaker's runtime."""


def openai_dialect(model: str) -> Dialect:
    """Return the dialect of an OpenAI model by its family.

    Models after GPT-4 reason, and accept a temperature and log-probabilities only with reasoning off. Models that
    cannot turn it off get the lowest effort.
    """

    def dialect(**options: Any) -> Dialect:
        return Dialect(
            "max_completion_tokens",
            url_setting="OPENAI_BASE_URL",
            model_setting="CONVICTION_GPT4_MODEL",
            key_setting="OPENAI_API_KEY",
            health_ttl_s=15.0,
            idle_s=60.0,
            **options,
        )

    if model.startswith("gpt-4"):
        return dialect(seed=0)
    if model.startswith(("gpt-6.1-sol", "gpt-6-astra")):
        return dialect(sampled=False, reasoning_effort="low", reasoning_tokens=8000)
    return dialect(reasoning_effort="none")
