"""The accumulation of a stream's events into a completion."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from app.backends.events import LogprobsEvent, parse_event
from app.backends.sse import DONE, EventDecoder
from app.contract.completion import Completion, Usage
from app.contract.probabilities import VALUE, LabelProbabilities, Token, label_probabilities
from app.errors import UnparsedAnswer

STAND_IN = "stand-in"

KEY_REACH = 32
"""Characters before a piece of text in which the action's key may start."""


class Accumulator:
    """What one stream has sent so far."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.stand_in = False
        self.text = ""
        self.refused = False
        self.done = False
        """Whether the end marker has arrived."""
        self.finish_reason: str | None = None
        self.text_events = 0
        self._decoder = EventDecoder()
        self._taken = 0
        self._report: Any = None
        self._action_found = False
        self._probabilities: LabelProbabilities | None = None

    @property
    def started(self) -> bool:
        """Whether the model has written text or a refusal."""
        return bool(self.text) or self.refused

    @property
    def usage(self) -> Usage | None:
        """The usage that the server reported last; None if it is impossible."""
        return Usage.reported(self._report, text_received=self.text_events > 0)

    def feed(self, piece: bytes) -> None:
        """Add the stream's next bytes. Raises `ValueError` for an invalid event."""
        for data in self._decoder.feed(piece):
            if data == DONE:
                self.done = True
            elif not self.done:
                self._add(data)

    def take_text(self) -> str:
        """Return the text that has arrived since the last time."""
        new = self.text[self._taken :]
        self._taken += len(new)
        return new

    def completion(self, usage: Usage, time_to_first_token: float | None, duration: float) -> Completion:
        """Return the whole completion. Raises `UnparsedAnswer`."""
        defect = self._defect(usage.completion_tokens)
        if defect is not None:
            raise UnparsedAnswer(defect)
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
        event = parse_event(data)
        self.model = event.model or self.model
        self.stand_in |= event.system_fingerprint == STAND_IN or event.model.startswith(f"{STAND_IN}/")
        self._report = event.usage or self._report
        for choice in event.choices[:1]:
            self.refused |= bool(choice.delta.refusal)
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._add_text(choice.delta.content or "", data)
            self.text_events += bool(choice.delta.content or choice.delta.refusal)

    def _add_text(self, text: str, data: bytes) -> None:
        """Add text; the event that starts the action's value also holds the probabilities of its alternatives."""
        before = len(self.text)
        self.text += text
        if self._action_found:
            return
        match = VALUE.search(self.text, max(0, before - KEY_REACH))
        if match is None or match.end() == len(self.text):
            return
        self._action_found = True
        prefix = Token(token=self.text[match.start() : before], logprob=0.0)
        try:
            tokens = LogprobsEvent.model_validate_json(data).tokens()
        except ValidationError:  # the answer is complete without them; its probabilities are null
            return
        self._probabilities = label_probabilities([prefix, *tokens])

    def _defect(self, tokens: int) -> str | None:
        """Return why the text is no answer, or None."""
        if self.refused:
            return f"{self.name} declined to answer"
        if self.finish_reason == "length":
            return f"{self.name}'s answer was cut at {tokens} tokens"
        if self.finish_reason == "content_filter":
            return f"{self.name}'s answer was withheld by a content filter"
        if self.finish_reason != "stop":
            return f"{self.name}'s answer has an unexpected finish_reason"
        return None if self.text else f"{self.name} gave an empty answer"
