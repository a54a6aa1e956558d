"""What endpoints get from the application."""

from __future__ import annotations

from starlette.requests import Request

from app.resources import Resources


def resources_of(request: Request) -> Resources:
    """The resources that the application was started with."""
    resources: Resources = request.app.state.resources
    return resources
