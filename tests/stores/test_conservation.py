"""Any steps in any order at any times: money is conserved, and limits are exact.

Random steps run on the store and on a model that computes differently (the theoretical arrival times of GCRA, as
fractions). After each step the two must agree.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from app.accounting.admission import Admissions, CacheHit, Follower, Leader
from app.contract.completion import Usage
from app.errors import LimitReached
from app.pricing.limits import Estimate, Limits, Scope
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import NO_RESULT, CallResult
from tests.stores.conftest import TIMEOUT_S, Clock

START_US = int(datetime(2024, 2, 28, 23, 50, tzinfo=UTC).timestamp()) * 10**6
MINUTE_US, DAY_US = 60 * 10**6, 86_400 * 10**6

LIMITS = st.builds(
    Limits,
    requests_per_minute=st.none() | st.integers(1, 9),
    tokens_per_minute=st.none() | st.integers(50, 300),
    nano_usd_per_day=st.none() | st.integers(0, 3000),
)
ESTIMATES = st.builds(Estimate, tokens=st.integers(0, 120), nano_usd=st.integers(0, 900))
PARTS = st.integers(0, 100)
FLIGHTS = st.sampled_from([None, None, "f", "g"])
LANDINGS = st.sampled_from(
    [NO_RESULT, CallResult(b"value"), CallResult(b"kept", 3600), CallResult(error="backend_error")]
)


@dataclass
class Request:
    """A leader."""

    estimate: Estimate
    day: str
    flight: str | None
    lease_us: int
    state: str
    ends: int


@dataclass
class Model:
    """The model of the store."""

    scopes: tuple[Scope, ...]
    now: int = START_US
    arrivals: dict[tuple[str, str], Fraction] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    leaders: dict[str, str] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    used: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    reserved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    said: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    late: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Usage of calls that had been released, which nothing was reserved for."""
    unconfirmed: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def day(self) -> str:
        return str(datetime.fromtimestamp(self.now // 10**6, UTC).date())

    def arrival(self, scope: Scope, reason: str) -> Fraction:
        return max(Fraction(self.now), self.arrivals.get((scope.name, reason), Fraction(0)))

    def take(self, scope: Scope, reason: str, limit: int | None, amount: int) -> None:
        if limit is not None:
            step = Fraction(MINUTE_US, limit) * amount
            self.arrivals[scope.name, reason] = max(Fraction(self.now), self.arrival(scope, reason) + step)

    def wait(self, scope: Scope, reason: str, limit: int | None, amount: int) -> float:
        """Microseconds; infinite if it never fits."""
        if limit is None:
            return 0
        if amount > limit:
            return float("inf")
        return max(0, ceil(self.arrival(scope, reason) + Fraction(MINUTE_US, limit) * amount - MINUTE_US - self.now))

    def waits(self, estimate: Estimate, leads: bool, counted: bool) -> float:
        """The longest wait of any limit; 0 if all admit."""
        waits = [0.0]
        for scope in self.scopes:
            limits = scope.limits
            if not counted:
                waits.append(self.wait(scope, "requests", limits.requests_per_minute, 1))
            if leads:
                waits.append(self.wait(scope, "tokens", limits.tokens_per_minute, estimate.tokens))
                cap, spent = limits.nano_usd_per_day, self.used[self.day] + self.reserved[self.day]
                if cap is not None and spent + estimate.nano_usd > cap:
                    waits.append(float("inf") if estimate.nano_usd > cap else DAY_US - self.now % DAY_US)
        return max(waits)

    def held(self, name: str) -> bool:
        return self.requests[name].state in ("reserved", "sent")

    def correct(self, tokens: int) -> None:
        for scope in self.scopes:
            self.take(scope, "tokens", scope.limits.tokens_per_minute, tokens)

    def lapse(self) -> None:
        """Expire leases that have ended, in order."""
        for request in sorted(self.requests.values(), key=lambda request: request.ends):
            if request.state not in ("reserved", "sent") or request.ends > self.now:
                continue
            self.reserved[request.day] -= request.estimate.nano_usd
            if request.state == "sent":
                self.used[request.day] += request.estimate.nano_usd
                self.unconfirmed[request.day].append(request.estimate.nano_usd)
                request.state = "unconfirmed"
            else:
                self.correct(-request.estimate.tokens)
                request.state = "released"

    def free(self, name: str, tokens: int) -> None:
        request = self.requests[name]
        if self.held(name):
            self.reserved[request.day] -= request.estimate.nano_usd
        elif request.state == "unconfirmed":
            self.used[request.day] -= request.estimate.nano_usd
            self.unconfirmed[request.day].remove(request.estimate.nano_usd)
        self.correct(tokens - (0 if request.state == "released" else request.estimate.tokens))
        if request.flight and self.leaders.get(request.flight) == name:
            del self.leaders[request.flight]


class Conservation(RuleBasedStateMachine):
    """The store and its model."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.number = 0

    def do(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(step)

    @initialize(key=LIMITS, backend=LIMITS)
    def begin(self, key: Limits, backend: Limits) -> None:
        self.model = Model((Scope("key:k", key), Scope("backend:gpt-4", backend)))
        self.do(self._open())

    async def _open(self) -> None:
        self.opened = open_redis(SecretStr(self.url))
        self.redis = await self.opened.__aenter__()
        await self.redis.flushdb()
        self.store = Pipelined(self.redis, TIMEOUT_S)
        self.admissions = Admissions(self.store)
        self.clock = Clock(self.store, self.model.now)
        await self.clock.forward(0)

    def teardown(self) -> None:
        """Let all leases end; nothing is reserved then."""
        if hasattr(self, "model"):
            self.model.now += 10**9
            self.do(self._end())
        self.runner.close()

    async def _end(self) -> None:
        await self.clock.forward(10**9)
        await self.admissions.sweep()
        self.model.lapse()
        for day in list(self.model.reserved):
            for scope in self.model.scopes:
                assert await self.redis.hget(f"conviction:budget:{scope.name}:{day}", "reserved") in (None, "0")
        assert await self.redis.zcard("conviction:leases") == 0
        await self.store.close()
        await self.opened.__aexit__(None, None, None)

    def pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model.requests)))

    @rule(microseconds=st.integers(0, 10**6) | st.integers(0, 2 * MINUTE_US) | st.integers(0, DAY_US))
    def time_goes_by(self, microseconds: int) -> None:
        self.model.now += microseconds
        self.do(self.clock.forward(microseconds))

    @rule(
        estimate=ESTIMATES, flight=FLIGHTS, read_cache=st.booleans(), counted=st.booleans(), sent=st.booleans(),
        lease_us=st.integers(10**5, 10**8),
    )  # fmt: skip
    def admit(
        self, estimate: Estimate, flight: str | None, read_cache: bool, counted: bool, sent: bool, lease_us: int
    ) -> None:
        model, name = self.model, f"r{self.number}"
        self.number += 1
        model.lapse()
        leader = model.leaders.get(flight or "")
        followed = leader is not None and model.held(leader)
        hit = read_cache and flight in model.cached
        leads = not hit and not followed
        wait = model.waits(estimate, leads, counted)
        admitting = self.admissions.admit(
            name, model.scopes, "gpt-4", estimate, lease_s=lease_us / 1e6, call_key=flight,
            read_cache=read_cache, counted=counted, sent=sent,
        )  # fmt: skip
        if wait:
            with pytest.raises(LimitReached) as caught:
                self.do(admitting)
            expected = None if wait == float("inf") else wait / 1e6
            assert caught.value.retry_after == expected
            return
        admission = self.do(admitting)
        assert type(admission) is (CacheHit if hit else Follower if followed else Leader)
        for scope in model.scopes:
            if not counted:
                model.take(scope, "requests", scope.limits.requests_per_minute, 1)
        if leads:
            model.correct(estimate.tokens)
            model.reserved[model.day] += estimate.nano_usd
            state, ends = "sent" if sent else "reserved", model.now + int(lease_us / 1e6 * 10**6)
            model.requests[name] = Request(estimate, model.day, flight, ends - model.now, state, ends)
            if flight:
                model.leaders[flight] = name

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data())
    def sent(self, data: st.DataObject) -> None:
        name = self.pick(data)
        held = self.model.held(name)
        assert self.do(self.admissions.sent(name)) is held
        if held:
            request = self.model.requests[name]
            request.state, request.ends = "sent", self.model.now + request.lease_us

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data(), lease_s=st.integers(1, 100))
    def renew(self, data: st.DataObject, lease_s: int) -> None:
        name = self.pick(data)
        held = self.model.held(name)
        assert self.do(self.admissions.renew(name, lease_s)) is held
        if held:
            self.model.requests[name].ends = self.model.now + lease_s * 10**6

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data(), part=PARTS, result=LANDINGS)
    def settle(self, data: st.DataObject, part: int, result: CallResult) -> None:
        model, name = self.model, self.pick(data)
        request = model.requests[name]
        tokens, cost = request.estimate.tokens * part // 100, request.estimate.nano_usd * part // 100
        settlement = self.do(self.admissions.settle(name, Usage(tokens, 0), cost, result))
        if request.state == "settled":
            assert settlement == "repeated"
            return
        assert settlement == ("settled" if model.held(name) else "corrected")
        model.free(name, tokens)
        model.used[request.day] += cost
        model.said[request.day] += cost
        if request.state == "released":
            model.late[request.day] += cost
        request.state = "settled"
        if result.ttl_s and request.flight:
            model.cached.add(request.flight)

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        model, name = self.model, self.pick(data)
        request = model.requests[name]
        settlement = self.do(self.admissions.release(name))
        if request.state in ("settled", "released"):
            assert settlement == "repeated"
            return
        assert settlement == ("settled" if model.held(name) else "corrected")
        model.free(name, 0)
        request.state = "released"

    @rule()
    def sweep(self) -> None:
        self.do(self.admissions.sweep())
        self.model.lapse()

    @invariant()
    def the_books_agree(self) -> None:
        if hasattr(self, "model"):
            self.do(self._compare())

    async def _compare(self) -> None:
        model = self.model
        for day in {*model.used, *model.reserved}:
            for scope in model.scopes:
                kept = await self.redis.hmget(f"conviction:budget:{scope.name}:{day}", ["used", "reserved"])
                used, reserved = (int(amount or 0) for amount in kept)
                assert (used, reserved) == (model.used[day], model.reserved[day])
                assert reserved >= 0
                cap = scope.limits.nano_usd_per_day
                assert cap is None or used + reserved <= cap + model.late[day]
            ledger = await self.redis.hgetall(f"conviction:ledger:gpt-4:{day}")
            assert int(ledger.get("nano_usd", 0)) == model.said[day]
            assert int(ledger.get("unconfirmed_nano_usd", 0)) == sum(model.unconfirmed[day])
            assert int(ledger.get("unconfirmed_requests", 0)) == len(model.unconfirmed[day])
            assert model.used[day] == model.said[day] + sum(model.unconfirmed[day])


@pytest.mark.parametrize("examples", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_money_is_conserved_and_limits_hold(db_url: str, scripts_by_the_clock: None, examples: int) -> None:
    machine = type("Conservation", (Conservation,), {"url": db_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
