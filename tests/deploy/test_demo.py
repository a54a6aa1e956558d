"""The demonstration: its figures, and a short run of the command of `make demo`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.contract.completion import BACKEND_NAMES
from deploy.demo.figures import Page, cache, figures
from deploy.demo.traffic import KINDS, Traffic
from tests.supervisor.running import COMMAND, PRICES, environment

ROOT = Path(__file__).parents[2]
COUNTED = """
conviction_requests_total{{backend="mistral",detail="brief",outcome="ok"}} {answered}
conviction_requests_total{{backend="mistral",detail="brief",outcome="rate_limited"}} {refused}
conviction_tokens_total{{backend="mistral",type="input"}} {read}
conviction_tokens_total{{backend="mistral",type="output"}} {written}
conviction_time_per_output_token_seconds_sum{{backend="mistral",detail="full"}} {seconds}
conviction_time_per_output_token_seconds_count{{backend="mistral",detail="full"}} {answered}
conviction_cost_usd_total{{backend="mistral",basis="capacity"}} {usd}
conviction_cache_requests_total{{result="hit"}} {refused}
"""
BEFORE = Page(COUNTED.format(answered=10, refused=1, read=100, written=50, seconds=5, usd=0.001))
AFTER = Page(COUNTED.format(answered=30, refused=4, read=700, written=450, seconds=6, usd=0.003))


def test_figures_are_differences_of_two_readings() -> None:
    found = figures(BEFORE, AFTER, 20)
    own = found["mistral"]
    assert (own.answered, own.refused, own.tokens_per_second) == (20, 3, 20)
    assert own.ms_per_token == pytest.approx(50)
    assert own.usd_per_1k_tokens == pytest.approx(0.002)
    assert own.real
    assert "3 from the cache" in cache(BEFORE, AFTER)


PROBLEM = {"code": "backend_error", "detail": "mistral failed"}
FAILED = {
    "streams": f"event: decision\ndata: {{}}\n\nevent: error\ndata: {json.dumps(PROBLEM)}\n\n",
    "batches": f"{json.dumps({'index': 0, 'answer': {}})}\n{json.dumps({'index': 1, 'problem': PROBLEM})}\n",
    "comparisons": json.dumps({"sides": {"mistral": {"problem": None}, "gpt-4": {"problem": PROBLEM}}}),
}


@pytest.mark.parametrize("name", FAILED)
async def test_an_error_within_an_answer_of_status_200_is_unexpected(name: str) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    answer = httpx.MockTransport(lambda _: httpx.Response(200, text=FAILED[name]))
    async with httpx.AsyncClient(transport=answer, base_url="http://gateway") as client:
        traffic = Traffic(client)
        await traffic._ask(kind, 0)
    [wrong] = traffic.wrong
    assert wrong == f"{name}: backend_error mistral failed"


def test_both_backends_have_figures_after_a_few_seconds(tmp_path: Path) -> None:
    more = PRICES | {
        "CONVICTION_EXPERIMENTS_FILE": str(ROOT / "deploy" / "demo" / "experiments.json"),
        "CONVICTION_SHADOW_FRACTION": "0.2",
        "CONVICTION_MISTRAL_USD_PER_DAY": "5",
        "CONVICTION_GPT4_USD_PER_DAY": "5",
        "CONVICTION_METRICS_KEY_NAMES": "local",
    }
    ended = subprocess.run(
        [*COMMAND, "--stand-in", "--", sys.executable, "-m", "deploy.demo", "--seconds", "4"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=environment(tmp_path / "run", more),
    )
    said = ended.stdout
    assert ended.returncode == 0, said + ended.stderr
    for backend in BACKEND_NAMES:
        row = re.search(rf"^ *{re.escape(backend)} (.*)$", said, re.MULTILINE)
        assert row, said
        answered, refused, *rest = map(float, row[1].split())
        assert answered > refused > 0
        assert len(rest) == 3 and min(rest) > 0
    assert re.search(r"agreement: [0-9.]+% .*of [1-9]\d* pairs of [1-5] tickers", said)  # a slow machine gets to fewer
    assert "STAND-IN answered as both backends" in said
    if shutil.which("prometheus"):
        shares = re.findall(r"(\d+) of (\d+)", said.partition("queries with data: ")[2].partition("\n")[0])
        assert len(shares) == 3 and all(some == every != "0" for some, every in shares), said
