"""What endpoints get from the application."""

from __future__ import annotations

from starlette.requests import Request

from app.auth.principal import Principal
from app.resources import Resources
from app.routing.experiments_file import Experiments


def resources_of(request: Request) -> Resources:
    """The resources that the application was started with."""
    resources: Resources = request.app.state.resources
    return resources


def principal_of(request: Request) -> Principal:
    """Who asks. There is nobody only where no key is asked for: at the two health endpoints."""
    principal: Principal = request.scope["state"]["holder"]
    return principal


def experiments_of(request: Request) -> Experiments:
    """The experiments that run."""
    experiments: Experiments = request.app.state.experiments
    return experiments
