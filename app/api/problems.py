"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from app.errors import ConvictionError, InvalidRequest, MethodNotAllowed, NotFound
from app.telemetry.logs import request_id

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MEDIA_TYPE = "application/problem+json"


class WrongField(BaseModel):
    """An invalid field of the request, and its problem."""

    field: str
    problem: str


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    type: Annotated[str, Field(description="the kind of problem: the code as a URI")]
    title: str
    status: int
    detail: Annotated[str, Field(description="the cause of this occurrence")]
    code: Annotated[str, Field(description="the kind of problem, for programs")]
    request_id: str | None
    retry_after: Annotated[int | None, Field(description="seconds until a retry can succeed, if known")] = None
    errors: Annotated[list[WrongField], Field(description="the invalid fields; only of invalid requests")] = []


def problem(error: ConvictionError) -> Problem:
    """Return the document of an error."""
    fields = error.fields if isinstance(error, InvalidRequest) else ()
    return Problem(
        type=f"urn:conviction:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id.get(),
        retry_after=None if error.retry_after is None else ceil(error.retry_after),
        errors=[WrongField(field=field, problem=wrong) for field, wrong in fields],
    )


def problem_response(error: ConvictionError) -> Response:
    """Return the document with the headers of the error."""
    document = problem(error).model_dump_json(exclude_defaults=True)
    return Response(document, error.status, headers=error.headers(), media_type=MEDIA_TYPE)


async def translate_router_error(request: Request, error: Exception) -> Response:
    """Raise the gateway's own error in place of the router's 404 or 405."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = _methods(request) if error.headers else ("GET", "HEAD")  # no headers: a path of StaticFiles
        raise MethodNotAllowed(f"this path does not support {request.method}", allow=", ".join(allow)) from None
    if error.status_code == 404:
        raise NotFound("no resource has this path") from None
    raise error


def _answered_as(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _methods(request: Request) -> list[str]:
    """Return the methods of every route at the path; the router's own error lists those of one route."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": _answered_as(method)})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
