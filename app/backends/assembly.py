"""The document of a chat completion, assembled from the events of its stream."""

from __future__ import annotations

from typing import Any

import jiter
from pydantic_core import to_json

from app.backends.relay import TEXT, USAGE, parse_usage
from app.backends.sse import DONE, EventDecoder
from app.contract.completion import Usage

MAX_BYTES = 1 << 24
"""The limit of a stream that becomes one document; a thousand tokens with twenty alternatives each have two million."""

WHOLE = frozenset({"id", "type", "role", "name"})
"""The members of a delta whose text is not sent in pieces."""


class Text(list[str]):
    """A text in pieces, which are joined once."""


class AssembledRelay:
    """An event stream for a client that wants one document, with the interface of `EventRelay`."""

    def __init__(self) -> None:
        self.done = False
        self.text_events = 0
        self._decoder = EventDecoder()
        self._received = 0
        self._document: dict[str, Any] = {}
        self._usage_event = b""

    def feed(self, piece: bytes) -> bytes:
        """Add the piece's events to the document. Raises `ValueError` for an event that is none of a completion's."""
        self._received += len(piece)
        if self._received > MAX_BYTES:
            raise ValueError(f"a completion of more than {MAX_BYTES} bytes")
        for data in self._decoder.feed(piece):
            if self.done or data == DONE:
                self.done = True
                break
            self._add(data)
        return b""

    def flush(self) -> bytes:
        """Return the document. Raises `ValueError` if the stream ended too early."""
        choices = self._document.get("choices")
        if not (self.done and choices):
            raise ValueError("the stream ended without its end marker or without a choice")
        return to_json({**self._document, "choices": list(map(_whole_choice, choices)), "object": "chat.completion"})

    @property
    def begun(self) -> bool:
        return bool(self._document.get("choices"))

    @property
    def usage(self) -> Usage | None:
        return parse_usage(self._usage_event, self.text_events > 0)

    def _add(self, data: bytes) -> None:
        event = jiter.from_json(data)
        if not isinstance(event, dict) or not isinstance(event.get("choices"), list):
            raise ValueError("an event without choices")
        self.text_events += TEXT.search(data) is not None
        if USAGE.search(data):
            self._usage_event = data
        _merge(self._document, event, joins=False)


def _merge(whole: dict[str, Any], part: dict[str, Any], joins: bool) -> None:
    """Add the members of a part: lists are extended, objects merged, a delta's texts joined, others replaced."""
    for name, new in part.items():
        old = whole.get(name)
        if isinstance(new, dict):
            if not isinstance(old, dict):
                old = whole[name] = {}
            _merge(old, new, joins or name == "delta")
        elif isinstance(new, list):
            if not isinstance(old, list):
                old = whole[name] = []
            _extend(old, new, joins)
        elif joins and isinstance(new, str) and name not in WHOLE:
            if isinstance(old, Text):
                old.append(new)
            else:
                whole[name] = Text([new])
        elif new is not None or name not in whole:
            whole[name] = new


def _extend(whole: list[Any], part: list[Any], joins: bool) -> None:
    """Append the elements of a part; those with an `index` are merged with the element of the same index."""
    for new in part:
        index = new.get("index") if isinstance(new, dict) else None
        same = (each for each in whole if isinstance(each, dict) and each.get("index") == index)
        if index is None:
            whole.append(new)
        elif (old := next(same, None)) is not None:
            _merge(old, new, joins)
        else:
            whole.append({})
            _merge(whole[-1], new, joins)


def _whole_choice(choice: Any) -> dict[str, Any]:
    """Return a choice with its message in place of the delta. Raises `ValueError`."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        raise ValueError("a choice without a delta")
    message = {"role": "assistant", "content": None, **_joined(delta)}
    for call in message.get("tool_calls") or ():
        if isinstance(call, dict):
            call.pop("index", None)
    return {**{name: value for name, value in choice.items() if name != "delta"}, "message": message}


def _joined(value: Any) -> Any:
    """Return the value with its texts joined."""
    if isinstance(value, Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(member) for name, member in value.items()}
    return [_joined(member) for member in value] if isinstance(value, list) else value
