"""The queueing simulation compared with closed forms, and its output."""

from __future__ import annotations

import csv
from math import factorial
from pathlib import Path

import numpy as np
import pytest

from deploy.loadtest import simulate
from deploy.loadtest.queueing import Floats, Simulation
from deploy.loadtest.scaling import Autoscaler, rise_and_fall
from deploy.loadtest.service import Detail, Step, figures, usd_per_1k_tokens

REQUESTS = 100_000


def erlang_c(places: int, offered: float) -> float:
    """Return the probability of waiting in M/M/c, by the load in Erlangs."""
    busy = offered**places / factorial(places) / (1 - offered / places)
    return busy / (sum(offered**k / factorial(k) for k in range(places)) + busy)


def drawn(rate: float, work: str, number: int = REQUESTS, seed: int = 1) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(1 / rate, number))
    return arrivals, draw.exponential(1, number) if work == "exponential" else draw.gamma(25, 1 / 25, number)


@pytest.mark.parametrize(("servers", "concurrency", "load"), [(1, 1, 0.7), (5, 1, 0.7), (2, 4, 0.7), (10, 1, 0.8)])
def test_servers_of_constant_pace_are_m_m_c(servers: int, concurrency: int, load: float) -> None:
    """Compare the share of waiting requests, their mean wait, and the 95th percentile of an exponential wait."""
    places = servers * concurrency
    found = Simulation(*drawn(load * places, "exponential"), [1.0] * (concurrency + 1), servers).run()
    waits, rate = erlang_c(places, load * places), places - load * places
    assert np.mean(found.waited > 1e-9) == pytest.approx(waits, rel=0.03)
    assert found.waited.mean() == pytest.approx(waits / rate, rel=0.08)
    assert np.percentile(found.waited, 95) == pytest.approx(np.log(waits / 0.05) / rate, rel=0.08)


@pytest.mark.parametrize("work", ["exponential", "gamma"])
def test_a_processor_sharing_server_is_m_g_1_ps(work: str) -> None:
    """The mean time depends only on the load, not on the distribution of lengths."""
    load = 0.7
    found = Simulation(*drawn(load, work), list(range(300)), 1).run()
    assert found.took.mean() == pytest.approx(1 / (1 - load), rel=0.08)
    assert not found.waited.any()


def test_no_request_is_lost_or_overtakes() -> None:
    arrivals, work = drawn(3.8, "exponential", 5_000)
    found = Simulation(arrivals, work, [1, 1, 1.5], 2).run()
    assert (found.took >= work - 1e-9).all()
    assert (np.diff(arrivals + found.waited) >= -1e-9).all()
    assert found.paid_s == pytest.approx(2 * (arrivals + found.took).max())


def test_without_load_a_request_takes_its_service_time() -> None:
    known = figures()
    for server in known.servers.values():
        request = known.requests[server.requests].brief
        found = Simulation(np.array([0.0, 1e6]), np.ones(2), server.pace(request), 1).run()
        alone = (request.answer * server.step_ms[1] + request.read * server.read_ms) / 1000
        assert found.took == pytest.approx(alone)


def test_the_default_model_s_figures_reproduce_the_measurement() -> None:
    """1,000 brief calls in 495.7 s and 200 full ones in 515.6 s, 32 at a time."""
    known = figures()
    server = known.servers["cpu"]
    assert 1 / server.per_second(known.requests["cpu"].brief) == pytest.approx(0.4957, rel=0.01)
    assert 1 / server.per_second(known.requests["cpu"].full) == pytest.approx(2.5778, rel=0.01)


def test_full_servers_cost_what_their_price_and_speed_say() -> None:
    known = figures()
    server = known.servers["t4"]
    request = known.requests["mistral"].full
    hourly = 3600 * server.per_second(request) * (request.prompt + request.answer)
    made = usd_per_1k_tokens(server, request, 1000, 1000 / server.per_second(request))
    assert made == pytest.approx(server.usd_per_hour / hourly * 1000)


def scaler(by_running: bool = True) -> Autoscaler:
    rule = figures().scaling.model_copy(
        update={"up": Step(replicas=2, every_s=120), "down": Step(replicas=1, every_s=120, after_s=600), "most": 10}
    )
    return Autoscaler(rule, 8, by_running=by_running)


def test_replicas_are_added_two_at_a_time_up_to_the_maximum() -> None:
    asked, replicas = scaler(), [1]
    for poll in range(60):
        replicas.append(asked(15.0 * poll, 1_000, 8, replicas[-1]))
    assert replicas[1] == replicas[8] == 3
    assert replicas[9] == 5
    assert replicas[-1] == 10


def test_replicas_are_removed_one_at_a_time_after_ten_minutes() -> None:
    asked = scaler()
    assert asked(0.0, 1_000, 8, 8) == 10
    replicas = [10]
    for poll in range(1, 60):
        replicas.append(asked(15.0 * poll, 0, 0, replicas[-1]))
    assert replicas[40] == 10
    assert replicas[41] == 9
    assert replicas[48] == 9
    assert replicas[49] == 8


def test_busy_replicas_are_kept_if_running_requests_count() -> None:
    held, let_go, last = scaler(by_running=True), scaler(by_running=False), list[int]()
    for poll in range(60):
        assert held(15.0 * poll, 0, 24, 4) == 4
        last.append(let_go(15.0 * poll, 0, 24, 4))
    assert set(last[:40]) == {4}
    assert 3 in last[40:]


def test_a_new_replica_helps_once_it_has_started() -> None:
    arrivals, work = np.linspace(0, 1_000, 2_001), np.ones(2_001)
    quick, slow = (
        Simulation(arrivals, work, [1.0, 1.0], 1).run(lambda *_: 4, poll_s=15, start_s=start_s)
        for start_s in (30.0, 300.0)
    )
    assert quick.waited.max() < slow.waited.max()
    assert (quick.most, slow.most) == (4, 4)


def test_closed_servers_finish_their_requests() -> None:
    arrivals, work = np.zeros(4), np.full(4, 100.0)
    found = Simulation(arrivals, work, [1.0, 1.0], 4).run(lambda *_: 1, poll_s=10)
    assert found.took == pytest.approx(np.full(4, 100.0))
    assert found.paid_s == pytest.approx(400.0)


def test_the_load_follows_a_cosine() -> None:
    arrivals = rise_and_fall(1, 9, 20_000, np.random.default_rng(2))
    counted, _ = np.histogram(arrivals, bins=4, range=(0, 20_000))
    assert len(arrivals) == pytest.approx(5 * 20_000, rel=0.03)
    assert counted[0] == pytest.approx(counted[3], rel=0.05)
    assert counted[1] > 2 * counted[0]


def test_the_files_have_a_row_for_every_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "REPLICAS", (1, 3))
    monkeypatch.setattr(simulate, "LOADS", (0.5, 0.9))
    monkeypatch.setattr(simulate, "SPAN_S", 600.0)
    simulate.simulate(type("Options", (), {"out": tmp_path, "requests": 300})())
    printed = capsys.readouterr().out
    steady = (tmp_path / "steady.csv").read_text().splitlines()
    scaled = (tmp_path / "scaled.csv").read_text().splitlines()
    assert len(steady) == 1 + 3 * 2 * 2 * 2
    assert len(scaled) == 1 + 1 + 2 * 3
    assert printed.count("| replicas | load |") == 6


ROOT = Path(__file__).parents[2]


def recorded(name: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / "reference" / "scaling" / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("server", "detail", "replicas", "load"), [("l4", "full", 1, 0.9), ("cpu", "brief", 2, 0.95)])
def test_the_recorded_figures_are_what_the_simulation_gives(
    server: str, detail: Detail, replicas: int, load: float
) -> None:
    (row,) = (
        row
        for row in recorded("steady.csv")
        if (row["server"], row["detail"], row["replicas"], row["load"]) == (server, detail, f"{replicas}", f"{load}")
    )
    known = figures()
    found = simulate.steady(known, known.servers[server], detail, replicas, load, 20_000)
    assert found == pytest.approx([float(row[column]) for column in simulate.COLUMNS[4:]], rel=1e-4, abs=1e-6)
