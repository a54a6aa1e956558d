"""What the stand-in has served: how completions ended, and how many tokens were sent in all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from app.stand_in.replies import Reply


@dataclass
class Tally:
    """Completions under way, answered to their end, left by the client before it; and the tokens that were sent."""

    open: int = 0
    answered: int = 0
    abandoned: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
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

    def serve(self, reply: Reply, spoken: int) -> None:
        """Count the tokens of an answer of which so many were sent."""
        used = reply.used(spoken)
        self.prompt_tokens += used["prompt_tokens"]
        self.completion_tokens += used["completion_tokens"]

    def document(self) -> dict[str, int]:
        return asdict(self)
