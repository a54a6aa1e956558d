"""The stand-in in the models' place, for demonstrations: nothing it says comes from a model."""

from __future__ import annotations

from collections.abc import Mapping

from app.backends.base import Backend
from app.settings.supervisor import SupervisorSettings
from app.stand_in.server import DEFAULT_KEY
from app.supervisor import golden
from app.supervisor.files import fresh_log
from app.supervisor.gateway import OWN_COMMAND
from app.supervisor.process import Program
from app.supervisor.screen import Screen

POLL_S = 0.1


def program(settings: SupervisorSettings, port: int, environment: Mapping[str, str]) -> Program:
    command = (*OWN_COMMAND, "stand-in", "--port", str(port), "--key", DEFAULT_KEY)
    return Program("stand-in", command, environment, fresh_log(settings.run_dir, "stand-in"))


def for_gateway(url: str) -> dict[str, str]:
    """Variables that send the gateway's GPT-4 route there as well, whatever key the user has."""
    return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": DEFAULT_KEY}


async def become_ready(backend: Backend, screen: Screen) -> None:
    """Return once a question is answered."""
    async with screen.waiting("the stand-in is starting"):
        await golden.until_answered(backend, POLL_S)
