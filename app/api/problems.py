"""Errors as RFC 9457 problem documents: the one handler."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from app.errors import ConvictionError, InvalidRequest, MethodNotAllowed, NotFound
from app.errors import foreseen as foreseen
from app.telemetry.logs import request_id

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MEDIA_TYPE = "application/problem+json"


class WrongField(BaseModel):
    """A field of the request, and what is wrong with it."""

    field: str
    problem: str


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    type: Annotated[str, Field(description="names the kind of problem; the code as a URI")]
    title: str
    status: int
    detail: Annotated[str, Field(description="what went wrong this time")]
    code: Annotated[str, Field(description="what a program tells errors apart by")]
    request_id: str | None
    retry_after: Annotated[int | None, Field(description="seconds until it may be asked again, where known")] = None
    errors: Annotated[list[WrongField], Field(description="each field that is wrong; only of invalid requests")] = []


def problem(error: ConvictionError) -> Problem:
    """The document of an error."""
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
    """The document, with the headers the error calls for."""
    document = problem(error).model_dump_json(exclude_defaults=True)
    return Response(document, error.status, headers=error.headers(), media_type=MEDIA_TYPE)


async def refuse_route(request: Request, error: Exception) -> Response:
    """Give what the router refuses the project's own form."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = _methods(request) if error.headers else ("GET", "HEAD")  # none: a file's path
        raise MethodNotAllowed(f"{request.method} is not allowed here", allow=", ".join(allow)) from None
    if error.status_code == 404:
        raise NotFound("there is nothing at this path") from None
    raise error


def _methods(request: Request) -> list[str]:
    """The methods of every route at the path; the router names those of the first alone."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
