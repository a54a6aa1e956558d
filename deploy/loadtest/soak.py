"""A soak test: constant load for minutes, each gateway's memory as CSV, and a verdict on its growth."""

from __future__ import annotations

import argparse
import asyncio
import csv
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np

from deploy.loadtest.books import Books
from deploy.loadtest.load import Load
from deploy.loadtest.parts import ScaleError
from deploy.loadtest.stack import GATEWAYS, Stack, running

ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
EVERY_S = 5.0
CLIENTS = 8
FULL_EVERY = 20
"""Mostly brief answers, which are faster: a leak grows with the number of requests."""
WARM = 0.5
"""Share of the run that is not judged, while caches, pools and the allocator's arenas fill."""
BLOCKS, T_95 = 10, 2.306
"""Number of blocks for the fit, and Student's t for 95% with two degrees of freedom fewer."""
LEAK = 100.0
"""Bytes a request: 170 MB a day at twenty requests a second."""


@dataclass(frozen=True)
class Growth:
    """Memory growth of a gateway in bytes a request, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.high <= LEAK:
            return "flat"
        return "GROWS" if self.low > LEAK else "too short to tell"


def growth(answered: Sequence[float], sizes: Sequence[float]) -> Growth:
    """Fit memory against the number of answers, by least squares over medians of blocks after warm-up."""
    first = int(len(answered) * WARM)
    x, y = np.asarray(answered[first:], float), np.asarray(sizes[first:], float)
    medians = np.array([(np.median(x[part]), np.median(y[part])) for part in np.array_split(np.arange(len(x)), BLOCKS)])
    u, v = medians.T
    spread = ((u - u.mean()) ** 2).sum()
    slope = float(((u - u.mean()) * (v - v.mean())).sum() / spread)
    left = v - v.mean() - slope * (u - u.mean())
    half = T_95 * float(np.sqrt((left**2).sum() / (BLOCKS - 2) / spread))
    return Growth(slope, slope - half, slope + half)


def soak(options: argparse.Namespace) -> int:
    """Return 0 where memory is flat, no request failed and the ledger equals the answers' costs."""
    if options.minutes * 60 < 2 * BLOCKS * EVERY_S:
        print(f"deploy.loadtest soak: at least {2 * BLOCKS * EVERY_S / 60:.1f} minutes are needed", file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="conviction-scale-") as folder:
        try:
            return asyncio.run(_soak(Path(folder), options))
        except ScaleError as error:
            print(f"deploy.loadtest: {error}", file=sys.stderr)
            return 2


async def _soak(folder: Path, options: argparse.Namespace) -> int:
    async with running(folder, real=False) as stack:
        load = Load(stack, clients=CLIENTS, full_every=FULL_EVERY, pause_s=CLIENTS / options.per_second)
        books = await Books.open(stack, load.payers)
        print(f"{options.minutes:g} minutes, at most {options.per_second:g} questions a second (STAND-IN)", flush=True)
        async with load.running():
            rows = await _watch(stack, load, options)
        money = await books.close(load.payers)
        died = [gateway.name for gateway in stack.gateways if gateway.ends]
    flat = [
        _judge(name, [row[1] for row in rows], [row[3 + n] for row in rows]) for n, name in enumerate(_names(stack))
    ]
    why = f" ({load.failures()})" if load.failed else ""
    print(f"{len(load.failed)} failed of {len(load.asked)} requests{why}; {money.summary}; details in {options.out}")
    return 0 if all(flat) and money.right and not load.failed and not died else 1


async def _watch(stack: Stack, load: Load, options: argparse.Namespace) -> list[list[float]]:
    """Write a row every five seconds; return all rows."""
    rows: list[list[float]] = []
    began = monotonic()
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "answered", "failed", *(f"{name}_bytes" for name in _names(stack))])
        while (passed := monotonic() - began) < options.minutes * 60:
            failed = len(load.failed)
            rows.append(
                [round(passed, 1), len(load.asked) - failed, failed, *(allocated(g.pid) for g in stack.gateways)]
            )
            writer.writerow(rows[-1])
            file.flush()
            await asyncio.sleep(EVERY_S)
    return rows


def _judge(name: str, answered: Sequence[float], sizes: Sequence[float]) -> bool:
    """Print the growth of one gateway, which gets an equal share of the answers; return whether it is flat."""
    found = growth([number / GATEWAYS for number in answered], sizes)
    print(
        f"{name}: {sizes[0] / 1e6:.1f} MB at first, {sizes[-1] / 1e6:.1f} MB at last; {found.value:+.0f} bytes a"
        f" request ({found.low:+.0f} to {found.high:+.0f}), limit {LEAK:g}: {found.verdict}"
    )
    return found.verdict == "flat"


def _names(stack: Stack) -> list[str]:
    return [gateway.name for gateway in stack.gateways]


def allocated(pid: int) -> int:
    """Return the resident anonymous bytes. Pages of files are left out: the kernel drops them at will."""
    (kib,) = ANONYMOUS.findall(Path(f"/proc/{pid}/status").read_text())
    return 1024 * int(kib)
