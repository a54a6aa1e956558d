"""The document of a chat completion, assembled from the events of its stream."""

from __future__ import annotations

from typing import Any

import jiter
from pydantic_core import to_json

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
        self._usage: Any = None

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
        return Usage.reported(self._usage, self.text_events > 0)

    def _add(self, data: bytes) -> None:
        event = jiter.from_json(data)
        if not isinstance(event, dict) or not isinstance(event.get("choices"), list):
            raise ValueError("an event without choices")
        self.text_events += _merge(self._document, event, joins=False)
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]


def _merge(whole: dict[str, Any], part: dict[str, Any], joins: bool) -> bool:
    """Add the members of a part: lists are extended, objects merged, a delta's texts joined, others replaced.

    Return whether a text was added. The types are the parser's, and `type` is faster than `isinstance`.
    """
    added = False
    for name, new in part.items():
        kind = type(new)
        if kind is dict:
            old = whole.get(name)
            if type(old) is not dict:
                old = whole[name] = {}
            added |= _merge(old, new, joins or name == "delta")
        elif kind is list:
            old = whole.get(name)
            if type(old) is not list:
                old = whole[name] = []
            added |= _extend(old, new, joins)
        elif joins and kind is str and name not in WHOLE:
            added |= new != ""
            old = whole.get(name)
            if type(old) is Text:
                old.append(new)
            else:
                whole[name] = Text([new])
        elif new is not None or name not in whole:
            whole[name] = new
    return added


def _extend(whole: list[Any], part: list[Any], joins: bool) -> bool:
    """Append the elements of a part; those with an `index` are merged with the element of the same index."""
    added = False
    for new in part:
        index = new.get("index") if type(new) is dict else None
        if index is None:
            whole.append(new)
            continue
        for old in whole:
            if type(old) is dict and old.get("index") == index:
                break
        else:
            whole.append(old := {})
        added |= _merge(old, new, joins)
    return added


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
