"""Errors in the format of OpenAI's API, for OpenAI clients."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.responses import Response

from app.errors import BudgetExceeded, ConvictionError, InvalidRequest, RateLimited

PATHS = ("/v1/chat/", "/v1/models")
"""The starts of the paths whose errors have this format."""


class ChatErrorDetail(BaseModel):
    """The cause of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ChatError(BaseModel):
    """An error in the format of OpenAI's API."""

    error: ChatErrorDetail


def error_json(error: ConvictionError) -> bytes:
    """Return the error as JSON."""
    fields = error.fields if isinstance(error, InvalidRequest) else ()
    param = fields[0][0] if fields else None
    detail = ChatErrorDetail(message=error.detail, type=_type(error), param=param, code=error.code)
    return ChatError(error=detail).model_dump_json().encode()


def error_response(error: ConvictionError) -> Response:
    """Return the error as a response with its headers."""
    return Response(error_json(error), error.status, headers=error.headers(), media_type="application/json")


def _type(error: ConvictionError) -> str:
    match error:
        case BudgetExceeded():
            return "insufficient_quota"
        case RateLimited():
            return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_request_error"
