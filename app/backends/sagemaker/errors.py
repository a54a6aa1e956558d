"""What SageMaker refuses with, as a server that speaks OpenAI's protocol would have said it."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationError

ANSWERED_FOR = 502
"""Of a model server that failed in a way SageMaker tells no status of."""

MEANT = {
    "ThrottlingException": 429,
    "Throttling": 429,
    "TooManyRequestsException": 429,
    "ModelNotReadyException": 503,  # an instance that still loads, though AWS says 429
    "ValidationError": 404,  # how the runtime says that there is no such endpoint, or that it is not in service
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
"""By the name of the error, since AWS gives most of them the status 400 or 403."""


class _Refusal(BaseModel):
    type: str = Field(default="", alias="__type")
    original_status: int | None = Field(default=None, alias="OriginalStatusCode")
    original_message: str = Field(default="", alias="OriginalMessage")


def as_refused(status: int, kind: str, document: bytes) -> tuple[int, bytes]:
    """Status and document of the model server where it is the one that refused (ModelError), else the status of the
    same meaning, and no document: what AWS says of its account's resources is not the client's to read."""
    try:
        said = _Refusal.model_validate_json(document)
    except ValidationError:
        said = _Refusal()
    name = (kind or said.type).partition(":")[0].rpartition("#")[2]
    if name == "ModelError":
        original = said.original_status or 0
        return original if 400 <= original < 600 else ANSWERED_FOR, said.original_message.encode()
    return MEANT.get(name, 401 if status == 403 else status), b""
