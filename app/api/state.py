"""Typed access to the application's and the request's state."""

from __future__ import annotations

from starlette.requests import Request

from app.auth.principal import Principal
from app.comparison.sectors import Sectors
from app.resources import Resources
from app.routing.experiments_file import Experiments


def resources_of(request: Request) -> Resources:
    """Return the resources that the lifespan opened."""
    resources: Resources = request.app.state.resources
    return resources


def principal_of(request: Request) -> Principal:
    """Return the authenticated principal. Only the paths that need no key have none."""
    principal: Principal = request.scope["state"]["principal"]
    return principal


async def authenticate(request: Request) -> Principal:
    """Return the principal if the request's key is still valid. Raises `Unauthorized` and `StoreUnavailable`."""
    principal: Principal = await request.scope["state"]["authenticate"]()
    return principal


def experiments_of(request: Request) -> Experiments:
    """Return the active experiments."""
    experiments: Experiments = request.app.state.experiments
    return experiments


def sectors_of(request: Request) -> Sectors | None:
    """Return the sectors of the universe file, if the settings name one."""
    sectors: Sectors | None = request.app.state.sectors
    return sectors
