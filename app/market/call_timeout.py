"""A time limit for blocking calls of libraries that do not keep to one. See docs/decisions/market-timeout.md."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

MAX_CALLS = 8
"""Concurrent calls, abandoned ones included: a source that hangs must not accumulate threads."""

_slots = BoundedSemaphore(MAX_CALLS)


def call_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """Return or raise what `call` does; after `seconds` abandon it and raise `TimeoutError`."""
    deadline = monotonic() + seconds
    if not _slots.acquire(timeout=seconds):
        raise TimeoutError("too many calls are running")
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by result()
            future.set_exception(error)
        finally:
            _slots.release()

    # A daemon: the interpreter joins the threads of a ThreadPoolExecutor at exit, however long their calls take.
    Thread(target=run, daemon=True).start()
    try:
        return future.result(max(0.0, deadline - monotonic()))
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
