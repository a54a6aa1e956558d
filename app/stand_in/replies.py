"""Chat completions as OpenAI-style documents: one object, or a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import time
from typing import Any

from app.contract.prompt import Detail
from app.stand_in.prompt_parser import prompt_prefix
from app.stand_in.protocol import ChatRequest
from app.stand_in.tokens import Token, split

FINGERPRINT = "stand-in"
PREFIX = "stand-in/"
REASONING_TOKENS = 64
"""Reported where the request asks for reasoning."""

_serial = count(1)


@dataclass(frozen=True)
class Reply:
    """The answer to a request, and its finish reason."""

    request: ChatRequest
    detail: Detail
    tokens: Sequence[Token]
    finish_reason: str = "stop"
    refusal: bool = False
    metered: bool = True
    id: str = field(default_factory=lambda: f"stand-in-{next(_serial)}")

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def reasoning_tokens(self) -> int:
        return REASONING_TOKENS if self.request.reasons else 0

    def usage_after(self, sent: int) -> dict[str, int]:
        """Return the usage when `sent` tokens of the answer have been sent."""
        prompt, completion = len(split(self.request.messages[0].content)), sent + self.reasoning_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def usage(self) -> dict[str, Any]:
        """Return the final usage; the prompt's prefix counts as cached, as on a warm server."""
        return self.usage_after(len(self.tokens)) | {
            "prompt_tokens_details": {"cached_tokens": len(split(prompt_prefix(self.detail)))},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }

    def completion(self) -> dict[str, Any]:
        """Return the response to a request that does not stream."""
        content = {"content": None, "refusal": self.text} if self.refusal else {"content": self.text, "refusal": None}
        choice = {"index": 0, "message": {"role": "assistant", **content}, "finish_reason": self.finish_reason}
        logprobs = {"logprobs": self._logprobs(self.tokens)}
        return self._envelope("chat.completion", [choice | logprobs]) | {"usage": self.usage()}

    def events(self) -> Iterator[str]:
        """Yield server-sent events: the role, one per token, the finish reason, and the usage."""
        yield self._event({"role": "assistant", "content": ""}, 0)
        for number, token in enumerate(self.tokens, 1):
            delta = {"refusal": token.text} if self.refusal else {"content": token.text}
            yield self._event(delta, number, logprobs=self._logprobs([token]))
        yield self._event({}, len(self.tokens), finish_reason=self.finish_reason)
        if self._reports("include_usage"):
            yield _data(self._envelope("chat.completion.chunk", []) | {"usage": self.usage()})
        yield "data: [DONE]\n\n"

    def _event(self, delta: dict[str, Any], sent: int, **choice_fields: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | choice_fields
        usage = self.usage_after(sent) if self._reports("continuous_usage_stats") else None
        return _data(self._envelope("chat.completion.chunk", [choice]) | {"usage": usage})

    def _reports(self, option: str) -> bool:
        options = self.request.stream_options
        return self.metered and options is not None and options.include_usage and getattr(options, option)

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
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
