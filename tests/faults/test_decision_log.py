"""Gateways as processes on one SQLite file: killed, on a full disk, and on a disk that is read-only."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.decision_log.database import FILE
from tests.faults.conftest import Start
from tests.faults.running import question, until
from tests.faults.upstream import Upstream

PATH = "/v1/recommendations"
MODES = ("best-effort", "required")
needs_mounts = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no mounts are allowed here",
)


def on_mount(folder: Path, options: str) -> tuple[str, ...]:
    """Return what runs a command with a small separate file system in the folder."""
    folder.mkdir()
    return ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o {options} none {folder} && exec "$@"', "sh")


async def test_killed_gateways_lose_at_most_the_batch_that_was_not_written(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """A second gateway on the same file, whose entries are required, loses nothing."""
    store = tmp_path / "store"
    replicas = {mode: start(CONVICTION_STORE_DIR=str(store), CONVICTION_DECISION_LOG=mode) for mode in MODES}
    answered: dict[str, list[str]] = {mode: [] for mode in MODES}
    async with replicas["best-effort"].client() as one, replicas["required"].client() as other:
        for _ in range(60):
            for mode, client in zip(MODES, (one, other), strict=True):
                answered[mode].append((await client.post(PATH, json=question(upstream.mark()))).json()["id"])
        for replica in replicas.values():
            replica.kill()
    with contextlib.closing(sqlite3.connect(store / FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = {name for (name,) in connection.execute("SELECT id FROM decisions")}
    assert set(answered["required"]) <= stored
    kept = [each in stored for each in answered["best-effort"]]
    assert kept == sorted(kept, reverse=True), "only the newest are lost"
    again = replicas["required"].start().wait()
    async with again.client() as client:
        listed = (await client.get(PATH, params={"limit": 200})).json()["recommendations"]
    assert {each["recommendation"]["id"] for each in listed} == stored


@needs_mounts
async def test_a_full_disk_costs_no_answer(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    store = tmp_path / "store"
    replica = start(on_mount(store, "size=1m,mode=700"), CONVICTION_STORE_DIR=str(store))
    assert replica.process is not None
    filler = Path(f"/proc/{replica.process.pid}/root") / store.relative_to("/") / "filler"
    async with replica.client() as client:
        first = (await client.post(PATH, json=question(upstream.mark()))).json()["id"]
        assert (await client.get(f"{PATH}/{first}")).status_code == 200
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        ids = []
        for _ in range(20):
            response = await client.post(PATH, json=question(upstream.mark(), "full"))
            assert response.status_code == 200
            ids.append(response.json()["id"])
        await until(lambda: "decision log takes no entries" in replica.log.read_text())
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get(f"{PATH}/{first}")).status_code == 200, "what is stored can be read"
        filler.unlink()
        await until(lambda: "decision log takes entries again" in replica.log.read_text())
        for each in ids:
            assert (await client.get(f"{PATH}/{each}")).status_code == 200
    lines = [json.loads(line)["message"] for line in replica.log.read_text().splitlines()]
    assert len([line for line in lines if "takes no entries" in line]) == 1


@needs_mounts
async def test_a_required_entry_on_a_read_only_disk_is_refused_before_a_model_is_asked(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    store, mark = tmp_path / "store", upstream.mark()
    replica = start.unready(
        on_mount(store, "ro,mode=700"), CONVICTION_STORE_DIR=str(store), CONVICTION_DECISION_LOG="required"
    )
    async with replica.client() as client:
        await until(lambda: _unready_for_its_log(client))
        refused = await client.post(PATH, json=question(mark))
    assert (refused.status_code, refused.json()["code"]) == (503, "decision_log_unavailable")
    assert upstream.calls[mark] == 0


async def _unready_for_its_log(client: httpx.AsyncClient) -> bool:
    try:
        components = (await client.get("/health/ready")).json()["components"]
    except httpx.TransportError:
        return False
    return components.get("decision_log") == {"ready": False, "reason": "OperationalError"}
