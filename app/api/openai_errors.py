"""Errors as OpenAI's API tells them, for clients that were made for it."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.responses import Response

from app.errors import BudgetExceeded, ConvictionError, InvalidRequest, RateLimited

PREFIX = "/v1/chat/"
"""The paths whose errors are told so."""


class Said(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ChatError(BaseModel):
    """An error as OpenAI's API tells it."""

    error: Said


def document(error: ConvictionError) -> bytes:
    """The error's JSON."""
    fields = error.fields if isinstance(error, InvalidRequest) else ()
    param = fields[0][0] if fields else None
    said = Said(message=error.detail, type=_type(error), param=param, code=error.code)
    return ChatError(error=said).model_dump_json().encode()


def error_response(error: ConvictionError) -> Response:
    """The document, with the headers the error calls for."""
    return Response(document(error), error.status, headers=error.headers(), media_type="application/json")


def _type(error: ConvictionError) -> str:
    match error:
        case BudgetExceeded():
            return "insufficient_quota"
        case RateLimited():
            return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_request_error"
