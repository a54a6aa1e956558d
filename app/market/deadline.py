"""A limit on how long a blocking call may take, for libraries that do not honour one throughout."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from time import monotonic
from typing import TypeVar

Answer = TypeVar("Answer")

MAX_CALLS = 8
"""Calls under way at once, given-up ones included: a source that hangs must not pile up threads."""

_slots = BoundedSemaphore(MAX_CALLS)


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What `call` answers or raises; TimeoutError after `seconds`, the call then ending unheard."""
    deadline = monotonic() + seconds
    if not _slots.acquire(timeout=seconds):
        raise TimeoutError("too many calls are under way")
    outcomes: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            outcomes.put((None, error))
        finally:
            _slots.release()

    Thread(target=run, daemon=True).start()
    try:
        answer, error = outcomes.get(timeout=max(0.0, deadline - monotonic()))
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
