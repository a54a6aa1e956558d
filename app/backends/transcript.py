"""A streamed answer as it grows, and what it amounts to once it has ended."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends.events import UsageReport, Weighed, read_event
from app.backends.sse import DONE, Lines
from app.contract.completion import Completion, Usage
from app.contract.probabilities import VALUE, Token, label_probabilities
from app.contract.recommendation import Action
from app.errors import BackendError, UnparsedAnswer

STAND_IN = "stand-in"

REACH = 32
"""Characters before a piece in which the action's key may have begun."""


class Transcript:
    """What one stream has said so far."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.stand_in = False
        self.text = ""
        self.refused = False
        self.done = False
        """The server has said that this is all."""
        self.finish_reason: str | None = None
        self.pieces = 0
        """Events with text."""
        self._lines = Lines()
        self._taken = 0
        self._report: UsageReport | None = None
        self._weighed = False
        self._probabilities: Mapping[Action, float] | None = None

    @property
    def begun(self) -> bool:
        """Whether the model has said anything."""
        return bool(self.text) or self.refused

    @property
    def told(self) -> Usage | None:
        """What has been used, as the server told last; None while it has not."""
        return self._report.usage() if self._report else None

    def feed(self, piece: bytes) -> None:
        """Take the stream's next bytes. Raises `ValueError` for what is no event."""
        for data in self._lines.feed(piece):
            if data == DONE:
                self.done = True
            elif not self.done:
                self._add(data)

    def take(self) -> str:
        """The text that has come since the last time."""
        new = self.text[self._taken :]
        self._taken += len(new)
        return new

    def completion(self, time_to_first_token: float | None, duration: float) -> Completion:
        """The whole answer; raises where there is none."""
        usage = self.told
        if usage is None:
            raise BackendError(f"{self.name} did not say how many tokens its answer took")
        lack = self._lack(usage.completion_tokens)
        if lack is not None:
            raise UnparsedAnswer(lack)
        return Completion(
            text=self.text,
            model=self.model,
            usage=usage,
            probabilities=self._probabilities,
            time_to_first_token=time_to_first_token,
            duration=duration,
            stand_in=self.stand_in,
        )

    def _add(self, data: bytes) -> None:
        event = read_event(data)
        self.model = event.model or self.model
        self.stand_in |= event.system_fingerprint == STAND_IN or event.model.startswith(f"{STAND_IN}/")
        self._report = event.usage or self._report
        for choice in event.choices[:1]:
            self.refused |= bool(choice.delta.refusal)
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._say(choice.delta.content or "", data)
            self.pieces += bool(choice.delta.content or choice.delta.refusal)

    def _say(self, said: str, data: bytes) -> None:
        """Add to the text; the event with which the action comes also tells what else was likely there."""
        before = len(self.text)
        self.text += said
        if self._weighed:
            return
        match = VALUE.search(self.text, max(0, before - REACH))
        if match is None or match.end() == len(self.text):
            return
        self._weighed = True
        prefix = Token(token=self.text[match.start() : before], logprob=0.0)
        self._probabilities = label_probabilities([prefix, *Weighed.model_validate_json(data).tokens()])

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
