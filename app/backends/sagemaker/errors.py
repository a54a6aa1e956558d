"""Mapping of SageMaker's errors to the statuses of an OpenAI-compatible server."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationError

UNKNOWN_STATUS = 502
"""The status of a model server that failed without one."""

STATUSES = {
    "ThrottlingException": 429,
    "Throttling": 429,
    "TooManyRequestsException": 429,
    "ModelNotReadyException": 503,  # an instance that is loading; AWS sends 429
    "ValidationError": 404,  # the endpoint does not exist or is not in service
    "ValidationException": 404,
    **dict.fromkeys(
        (
            "AccessDeniedException",
            "AccessDenied",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "OptInRequired",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        401,
    ),
}
"""Statuses by error type, because AWS sends most errors with status 400 or 403."""


class _Error(BaseModel):
    type: str = Field(default="", alias="__type")
    original_status: int | None = Field(default=None, alias="OriginalStatusCode")
    original_message: str = Field(default="", alias="OriginalMessage")


def unwrap_error(status: int, kind: str, document: bytes) -> tuple[int, bytes]:
    """Return the status and document of the model server (ModelError), or the equivalent status without a document.

    Clients must not read what AWS reports about the account's resources.
    """
    try:
        error = _Error.model_validate_json(document)
    except ValidationError:
        error = _Error()
    name = (kind or error.type).partition(":")[0].rpartition("#")[2]
    if name == "ModelError":
        original = error.original_status or 0
        return original if 400 <= original < 600 else UNKNOWN_STATUS, error.original_message.encode()
    return STATUSES.get(name, 401 if status == 403 else status), b""
