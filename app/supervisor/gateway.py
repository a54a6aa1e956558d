"""The gateway as a child process: its command, its address and its readiness."""

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
from app.supervisor.files import rotate_log
from app.supervisor.process import Program
from app.supervisor.screen import Screen

POLL_S = 0.2
OWN_COMMAND = (sys.executable, "-m", "app.cli")
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - to connect to, not to listen on


def program(run_dir: Path, environment: Mapping[str, str]) -> Program:
    return Program("gateway", (*OWN_COMMAND, "serve"), environment, rotate_log(run_dir, "gateway"))


def address(settings: Settings) -> str:
    """Return the URL at which this machine reaches the gateway."""
    host = ANYWHERE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


async def wait_until_ready(url: str, screen: Screen) -> None:
    """Poll /health/ready until it reports ready; meanwhile show why it does not."""
    async with screen.progress("gateway is starting") as progress:
        while not (state := await asyncio.to_thread(readiness, url)).get("ready"):
            components: dict[str, dict[str, Any]] = state.get("components", {})
            progress.detail = "; ".join(str(part["reason"]) for part in components.values() if not part["ready"])
            await asyncio.sleep(POLL_S)


def readiness(url: str) -> dict[str, Any]:
    """Return the document of /health/ready; empty if the gateway does not answer."""
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health/ready", timeout=10) as response:
            state: dict[str, Any] = json.load(response)
    except HTTPError as error:
        with error:
            state = json.load(error)
    except (OSError, HTTPException):
        return {}
    return state
