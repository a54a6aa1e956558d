"""A discrete-event simulation of a queue before model servers with continuous batching.

A server shares its capacity evenly among its running requests. Requests wait in one first-in, first-out queue for the
open server with the fewest running requests. Times are seconds, work is in mean requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Wanted = Callable[[float, int, int, int], int]
"""Returns the wanted number of servers, from the time and the numbers of waiting and running requests and servers."""


@dataclass
class Server:
    """`running` is a heap of requests by the work at which they end; `done` is each one's work until `seen`."""

    since: float
    running: list[tuple[float, int]] = field(default_factory=list)
    done: float = 0.0
    seen: float = 0.0
    plan: int = 0
    closing: bool = False


@dataclass(frozen=True)
class Outcome:
    """Waiting and total time of each request, in order of arrival. `paid_s` sums the time of servers, starting ones
    included; `most` is their largest number."""

    waited: Floats
    took: Floats
    paid_s: float
    most: int


class Simulation:
    """`pace[n]` is the seconds of a mean request while n run concurrently; `pace[0]` is unused."""

    def __init__(self, arrivals: Floats, work: Floats, pace: Sequence[float], servers: int) -> None:
        self._arrivals, self._work, self._pace = arrivals.tolist(), work.tolist(), pace
        self._started, self._ended = np.zeros(len(arrivals)), np.zeros(len(arrivals))
        self._line: deque[int] = deque()
        self._servers = {number: Server(0.0) for number in range(servers)}
        self._ends: list[tuple[float, int, int]] = []
        self._coming: list[float] = []
        """Times at which starting servers become ready."""
        self._born, self._paid_s, self._most = servers, 0.0, servers

    def run(self, wanted: Wanted | None = None, poll_s: float = inf, start_s: float = 0.0) -> Outcome:
        """Run until every request is answered. Every `poll_s` servers are started or closed to match `wanted`."""
        poll, arriving = poll_s, 0
        while True:
            arrival = self._arrivals[arriving] if arriving < len(self._arrivals) else inf
            end = self._ends[0][0] if self._ends else inf
            coming = self._coming[0] if self._coming else inf
            now = min(arrival, end, coming, poll)
            if arrival == end == inf and not self._line:
                return self._outcome()
            if now == end:
                self._finish(*heappop(self._ends))
            elif now == arrival:
                self._line.append(arriving)
                arriving += 1
                self._let_in(now)
            elif now == coming:
                self._add(heappop(self._coming), start_s)
            else:
                poll += poll_s
                if wanted is not None:
                    self._scale(now, wanted, start_s)

    def _let_in(self, now: float) -> None:
        while self._line:
            number = self._least()
            if number is None:
                return
            server, request = self._servers[number], self._line.popleft()
            self._advance(server, now)
            self._started[request] = now
            heappush(server.running, (server.done + self._work[request], request))
            self._foresee(number, now)

    def _least(self) -> int | None:
        """Return the open server with the fewest running requests, or None if all are full."""
        least, found = len(self._pace) - 1, None
        for number, server in self._servers.items():
            if len(server.running) < least and not server.closing:
                least, found = len(server.running), number
        return found

    def _advance(self, server: Server, now: float) -> None:
        if server.running:
            server.done += (now - server.seen) / self._pace[len(server.running)]
        server.seen = now

    def _foresee(self, number: int, now: float) -> None:
        """Schedule the end of the server's next answer, valid until another event changes its pace."""
        server = self._servers[number]
        server.plan += 1
        if server.running:
            left = server.running[0][0] - server.done
            heappush(self._ends, (now + max(0.0, left) * self._pace[len(server.running)], number, server.plan))

    def _finish(self, now: float, number: int, plan: int) -> None:
        server = self._servers.get(number)
        if server is None or server.plan != plan:  # another event changed its pace
            return
        self._advance(server, now)
        _, request = heappop(server.running)
        self._ended[request] = now
        self._foresee(number, now)
        self._reap(number, now)
        self._let_in(now)

    def _scale(self, now: float, wanted: Wanted, start_s: float) -> None:
        """Close servers; they finish their running requests."""
        open_servers = [number for number, server in self._servers.items() if not server.closing]
        there = len(open_servers) + len(self._coming)
        running = sum(len(server.running) for server in self._servers.values())
        change = wanted(now, len(self._line), running, there) - there
        for _ in range(change):
            heappush(self._coming, now + start_s)
        for number in sorted(open_servers, key=lambda each: len(self._servers[each].running))[: max(0, -change)]:
            self._servers[number].closing = True
            self._reap(number, now)
        self._most = max(self._most, there + max(change, 0))

    def _add(self, now: float, start_s: float) -> None:
        self._servers[self._born] = Server(now - start_s, seen=now)
        self._born += 1
        self._let_in(now)

    def _reap(self, number: int, now: float) -> None:
        server = self._servers[number]
        if server.closing and not server.running:
            self._paid_s += now - server.since
            del self._servers[number]

    def _outcome(self) -> Outcome:
        over = float(self._ended.max())
        paid = self._paid_s + sum(over - server.since for server in self._servers.values())
        arrivals = np.asarray(self._arrivals)
        return Outcome(self._started - arrivals, self._ended - arrivals, paid, self._most)
