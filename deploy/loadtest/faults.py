"""A rolling restart, and kill -9 of each part, under load: every answer is charged, and every part recovers."""

from __future__ import annotations

import asyncio
import signal
from time import monotonic

from deploy.loadtest.books import Books
from deploy.loadtest.load import Load
from deploy.loadtest.parts import until
from deploy.loadtest.sharing import Finding
from deploy.loadtest.stack import Stack

BEFORE_S, AFTER_S = 2.0, 3.0
"""Seconds of load before and after the fault."""
KILLED = ("gateway-1", "valkey", "model-1", "haproxy")


async def rolling_restart(stack: Stack, load: Load) -> Finding:
    """Send SIGTERM to each gateway in turn and wait until it is replaced. No request may fail."""
    books = await Books.open(stack, load.payers)
    async with load.running():
        await asyncio.sleep(BEFORE_S)
        began = monotonic()
        for gateway in stack.gateways:
            ends = len(gateway.ends)
            gateway.signal(signal.SIGTERM)
            await gateway.back(ends)
            await until(stack.whole, f"haproxy takes {gateway.name} back")
        took = monotonic() - began
        await asyncio.sleep(AFTER_S)
    statuses = [gateway.ends[-1] for gateway in stack.gateways]
    money = await books.close(load.payers)
    clean = statuses == [0] * len(statuses) and not load.failed
    why = f" ({load.failures()}; exit statuses {statuses})" if not clean else ""
    return Finding(
        "rolling restart",
        clean and money.right,
        f"{len(load.failed)} failed of {len(load.asked)} requests while {len(statuses)} gateways were replaced in"
        f" {took:.0f} s{why}; {money.summary}",
    )


async def killed(stack: Stack, load: Load, name: str, within_s: float) -> Finding:
    """Kill one part with SIGKILL. Requests may fail for `within_s`.

    The time to full recovery is reported without a limit: the other parts take over while vLLM loads its weights.
    """
    part = stack.parts[name]
    books = await Books.open(stack, load.payers)
    async with load.running():
        await asyncio.sleep(BEFORE_S)
        ends, moment = len(part.ends), monotonic()
        part.signal(signal.SIGKILL)
        await part.back(ends)
        await until(stack.whole, f"all is whole after {name} was killed")
        if name.startswith("model-"):
            await until(lambda: _asked_again(stack, name), f"{name} is asked again")
        whole_s = monotonic() - moment
        await asyncio.sleep(AFTER_S)
    failing_s = max((each.ended - moment for each in load.failed), default=0.0)
    answered = sum(each.ok and each.ended > moment + failing_s for each in load.asked)
    money = await books.close(load.payers)
    why = f" ({load.failures()}), the last {failing_s:.1f} s after the kill" if load.failed else ""
    return Finding(
        f"kill -9 {name}",
        failing_s <= within_s and answered > 0 and money.right,
        f"{len(load.failed)} failed of {len(load.asked)} requests{why}; whole again after {whole_s:.1f} s;"
        f" {money.summary}",
    )


async def _asked_again(stack: Stack, name: str) -> bool:
    number = int(name.rpartition("-")[2])
    return await stack.calls(stack.servers[number - 1]) > 0
