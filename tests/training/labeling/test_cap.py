from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from training.labeling.cap import Cap, CapReached
from training.labeling.journal import Answered, Closed, Journal, Sent

CALL = st.integers(1, 60).flatmap(
    lambda most: st.tuples(st.just(most), st.one_of(st.none(), st.integers(0, most)), st.integers(0, 3))
)
"""The most that a call can cost, what it does cost (None: it is never known), and how long it takes."""


@given(st.integers(1, 200), st.lists(CALL, max_size=12))
def test_the_cap_is_never_passed(cap_nano_usd: int, calls: list[tuple[int, int | None, int]]) -> None:
    async def one(cap: Cap, number: int, most: int, cost: int | None, turns: int) -> bool:
        call = f"c{number}"
        try:
            await cap.send(Sent(call=call, at_most={call: most}, at=0))
        except CapReached:
            return False
        assert cap.journal.spent <= cap_nano_usd
        for _ in range(turns):
            await asyncio.sleep(0)
        await cap.settle(call, None if cost is None else Answered(call=call, key=call, answer="{}", nano_usd=cost))
        assert cap.journal.spent <= cap_nano_usd
        return True

    async def all_of_them(cap: Cap) -> list[bool]:
        return await asyncio.gather(*(one(cap, number, *call) for number, call in enumerate(calls)))

    with TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as journal:
        cap = Cap(journal, cap_nano_usd)
        sent = asyncio.run(all_of_them(cap))
        if sum(most for most, _, _ in calls) <= cap_nano_usd:
            assert all(sent)


async def test_a_call_waits_for_those_in_flight_before_it_fails(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        cap = Cap(journal, 100)
        await cap.send(Sent(call="a", at_most={"a": 80}, at=0))
        second = asyncio.create_task(cap.send(Sent(call="b", at_most={"b": 80}, at=0)))
        await asyncio.sleep(0)
        assert not second.done()
        await cap.settle("a", Closed(call="a", reason="http 500"))
        await second
        assert set(journal.open) == {"b"}
