"""The documents of a chat completion, whole or as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import time
from typing import Any

from app.contract.prompt import Detail
from app.stand_in.protocol import ChatRequest
from app.stand_in.read_back import fixed_part
from app.stand_in.speech import Spoken, pieces

FINGERPRINT = "stand-in"
PREFIX = "stand-in/"
THOUGHTS = 64
"""Reasoning tokens, where the model is told to reason."""

_serial = count(1)


@dataclass(frozen=True)
class Reply:
    """What is said, and how it ends."""

    request: ChatRequest
    detail: Detail
    spoken: Sequence[Spoken]
    finish_reason: str = "stop"
    refusal: bool = False
    metered: bool = True
    id: str = field(default_factory=lambda: f"stand-in-{next(_serial)}")

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.spoken)

    @property
    def thoughts(self) -> int:
        return THOUGHTS if self.request.reasons else 0

    def used(self, spoken: int) -> dict[str, int]:
        """Tokens, once so many have been spoken."""
        prompt, completion = len(pieces(self.request.messages[0].content)), spoken + self.thoughts
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def usage(self) -> dict[str, Any]:
        """Tokens of it all; the fixed part of the prompt counts as cached, as a warm server would have it."""
        return self.used(len(self.spoken)) | {
            "prompt_tokens_details": {"cached_tokens": len(pieces(fixed_part(self.detail)))},
            "completion_tokens_details": {"reasoning_tokens": self.thoughts},
        }

    def whole(self) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        said = {"content": None, "refusal": self.text} if self.refusal else {"content": self.text, "refusal": None}
        choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": self.finish_reason}
        logprobs = {"logprobs": self._logprobs(self.spoken)}
        return self._envelope("chat.completion", [choice | logprobs]) | {"usage": self.usage()}

    def events(self) -> Iterator[str]:
        """Server-sent events: the role, a token each, the end, the usage."""
        yield self._event({"role": "assistant", "content": ""}, 0)
        for number, token in enumerate(self.spoken, 1):
            said = {"refusal": token.text} if self.refusal else {"content": token.text}
            yield self._event(said, number, logprobs=self._logprobs([token]))
        yield self._event({}, len(self.spoken), finish_reason=self.finish_reason)
        if self._tells("include_usage"):
            yield _data(self._envelope("chat.completion.chunk", []) | {"usage": self.usage()})
        yield "data: [DONE]\n\n"

    def _event(self, delta: dict[str, Any], spoken: int, **of_choice: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | of_choice
        usage = self.used(spoken) if self._tells("continuous_usage_stats") else None
        return _data(self._envelope("chat.completion.chunk", [choice]) | {"usage": usage})

    def _tells(self, option: str) -> bool:
        options = self.request.stream_options
        return self.metered and options is not None and options.include_usage and getattr(options, option)

    def _logprobs(self, tokens: Sequence[Spoken]) -> dict[str, Any] | None:
        if not self.request.logprobs or self.refusal:
            return None
        return {
            "content": [token.document(self.request.top_logprobs or 0) for token in tokens],
            "refusal": None,
        }

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": int(time()),
            "model": PREFIX + self.request.model.removeprefix(PREFIX),
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }


def _data(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n"
