"""The gateway as a child: how it is started, and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from app.settings.gateway import Settings
from app.supervisor.files import fresh_log
from app.supervisor.process import Program
from app.supervisor.screen import Screen

POLL_S = 0.2
OWN_COMMAND = (sys.executable, "-m", "app.cli")
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - said back, not listened on


def program(run_dir: Path, environment: Mapping[str, str]) -> Program:
    return Program("gateway", (*OWN_COMMAND, "serve"), environment, fresh_log(run_dir, "gateway"))


def address(settings: Settings) -> str:
    """Where this machine reaches it."""
    host = ANYWHERE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


async def become_ready(url: str, screen: Screen) -> None:
    """Return once it says that it could answer."""
    async with screen.waiting("gateway is starting") as wait:
        while not (said := await asyncio.to_thread(readiness, url)).get("ready"):
            components: dict[str, dict[str, Any]] = said.get("components", {})
            reasons = [str(part["reason"]) for part in components.values() if not part["ready"]]
            wait.latest = "; ".join(reasons)
            await asyncio.sleep(POLL_S)


def readiness(url: str) -> dict[str, Any]:
    """What /health/ready says; nothing where nobody answers."""
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health/ready", timeout=10) as response:
            said: dict[str, Any] = json.load(response)
    except HTTPError as error:
        with error:
            said = json.load(error)
    except (OSError, HTTPException):
        return {}
    return said
