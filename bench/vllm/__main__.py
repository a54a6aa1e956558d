"""vLLM's start-up time and speed by option: alone, and with 8 and 32 clients.

  .envs/dev/bin/python -m bench.vllm                       every option, some ten minutes each
  .envs/dev/bin/python -m bench.vllm --only eager --quick  one, with fewer requests
  .envs/dev/bin/python -m bench.vllm --emulate-avx2        as on a CPU without AVX-512

Needs what `make model` makes. No other program should run during the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp

from app.contract.machine import detect
from app.settings.backends import ModelSettings
from app.settings.loading import load
from app.settings.supervisor import SupervisorSettings
from bench import stored
from bench.vllm.client import PLAN, QUICK
from bench.vllm.measured import NotStarted, measured
from bench.vllm.options import OPTIONS, Setup, setups

SECTION = "vllm_options"
COLUMNS = (
    ("first start: listens", "first_start", "listening_s", "s"),
    ("first answer", "first_start", "first_answer_s", "s"),
    ("later start: listens", "later_start", "listening_s", "s"),
    ("first answer", "later_start", "first_answer_s", "s"),
    ("brief answer alone", "brief", "seconds", "s"),
    ("full answer alone", "full", "seconds", "s"),
    ("a token alone", "full", "ms_per_token", "ms"),
    ("brief, 8 clients", "brief, 8 clients", "answers_per_second", "/s"),
    ("", "brief, 8 clients", "tokens_per_second", "tokens/s"),
    ("brief, 32 clients", "brief, 32 clients", "answers_per_second", "/s"),
    ("", "brief, 32 clients", "tokens_per_second", "tokens/s"),
    ("full, 8 clients", "full, 8 clients", "tokens_per_second", "tokens/s"),
)


def table(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row for each figure and a column for each option."""
    widths = {name: max(9, len(name)) + 2 for name in options}
    yield " " * 32 + "".join(f"{name:>{width}}" for name, width in widths.items())
    for title, group, name, unit in COLUMNS:
        cells = (f"{options[option][group][name]:>{width}}" for option, width in widths.items())
        yield f"{title:<22}{unit:<10}{''.join(cells)}"


async def run(given: argparse.Namespace) -> int:
    emulated: bool = given.emulate_avx2
    overrides = stored.EMULATED_AVX2 if emulated else os.environ
    machine, own = detect(), load(SupervisorSettings)
    kind, python = stored.kind(machine, emulated=emulated), own.vllm_python.absolute()
    os.environ.update(stored.EMULATED_AVX2 if emulated else {})
    figures: dict[str, Any] = {}
    failures = 0
    store, models = load(ModelSettings).model_store, own.models.absolute()
    for setup in setups(machine, overrides, store, models, given.only or ()):
        if not isinstance(setup, Setup):
            print(setup)
            continue
        origin = stored.origin(machine, setup.profile, os.getloadavg()[0])
        log = own.run_dir.absolute() / "bench" / f"vllm-{setup.name.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        print(f"{setup.name}: {setup.profile.weights} in {setup.profile.dtype}", flush=True)
        try:
            figures[setup.name] = await measured(setup, python, log, QUICK if given.quick else PLAN)
        except (NotStarted, aiohttp.ClientError) as error:
            print(f"{setup.name}: no figures: {error}", file=sys.stderr)
            failures += 1
            continue
        print(f"  {json.dumps(figures[setup.name])}", flush=True)
        if not given.quick:
            stored.store((SECTION, kind, setup.name), {**origin, **figures[setup.name]})
    print("\n".join(table(figures)))
    return 1 if failures or not figures else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.vllm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [option.name for option in OPTIONS]
    parser.add_argument("--only", action="append", choices=names, help="an option to measure, repeatable; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer requests; nothing is stored")
    parser.add_argument("--emulate-avx2", action="store_true", help="let PyTorch and oneDNN use AVX2 at most")
    try:
        return asyncio.run(run(parser.parse_args()))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
