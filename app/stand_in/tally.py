"""Counters of the stand-in's completions and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from app.stand_in.replies import Reply


@dataclass
class Tally:
    """Completions in progress, completed, and abandoned by the client; and the tokens that were sent."""

    open: int = 0
    answered: int = 0
    abandoned: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @contextmanager
    def completion(self) -> Iterator[None]:
        """Count a completion as open during the block, then as answered or abandoned."""
        self.open += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned += 1
            raise
        else:
            self.answered += 1
        finally:
            self.open -= 1

    def count_tokens(self, reply: Reply, sent: int) -> None:
        """Count the tokens of a reply of which `sent` tokens were sent."""
        usage = reply.usage_after(sent)
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]

    def document(self) -> dict[str, int]:
        return asdict(self)
