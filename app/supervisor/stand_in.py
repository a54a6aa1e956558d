"""The stand-in as a child process, for demonstrations without a model."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends.base import Backend
from app.settings.supervisor import SupervisorSettings
from app.stand_in.server import DEFAULT_KEY
from app.supervisor import golden
from app.supervisor.files import rotate_log
from app.supervisor.gateway import OWN_COMMAND
from app.supervisor.process import Program
from app.supervisor.screen import Screen

POLL_S = 0.1


def program(settings: SupervisorSettings, port: int, environment: Mapping[str, str]) -> Program:
    command = (*OWN_COMMAND, "stand-in", "--port", str(port), "--key", DEFAULT_KEY)
    return Program("stand-in", command, environment, rotate_log(settings.run_dir, "stand-in"))


def gateway_variables(url: str) -> dict[str, str]:
    """Return variables that send the gateway's gpt-4 requests to the stand-in and replace the user's key."""
    return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": DEFAULT_KEY}


async def wait_until_ready(backend: Backend, screen: Screen) -> None:
    async with screen.progress("the stand-in is starting"):
        await golden.wait_until_answering(backend, POLL_S)
