from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from training.labeling.cap import Cap, CapReached
from training.labeling.journal import Answered, Journal

CALL = st.integers(1, 60).flatmap(
    lambda most: st.tuples(st.just(most), st.one_of(st.none(), st.integers(0, most)), st.integers(0, 3))
)
"""The most that a call can cost, what it does cost (None: it is never known), and how long it takes."""


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.lists(CALL, max_size=12))
def test_the_cap_is_never_passed(cap_nano_usd: int, calls: list[tuple[int, int | None, int]]) -> None:
    async def one(cap: Cap, number: int, most: int, cost: int | None, turns: int) -> bool:
        call = f"c{number}"
        try:
            await cap.send(call, {call: most})
        except CapReached:
            return False
        assert cap.journal.spent <= cap_nano_usd
        for _ in range(turns):
            await asyncio.sleep(0)
        await cap.settle(call, "unknown" if cost is None else Answered(call, call, answer="{}", nano_usd=cost))
        assert cap.journal.spent <= cap_nano_usd
        return True

    async def all_of_them(cap: Cap) -> list[bool]:
        return await asyncio.gather(*(one(cap, number, *call) for number, call in enumerate(calls)))

    with TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        cap = Cap(journal, cap_nano_usd)
        sent = asyncio.run(all_of_them(cap))
        if sum(most for most, _, _ in calls) <= cap_nano_usd:
            assert all(sent)


async def test_a_call_waits_for_those_in_flight_before_it_fails(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        cap = Cap(journal, 100)
        await cap.send("a", {"a": 80})
        second = asyncio.create_task(cap.send("b", {"b": 80}))
        await asyncio.sleep(0)
        assert not second.done()
        await cap.settle("a", "unbilled")
        await second
        assert (journal.open_calls, journal.spent) == (1, 80)
