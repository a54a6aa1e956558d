"""/v1/keys: admins issue, list and revoke API keys."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.body import read_json
from app.api.key_schemas import IssuedKey, Key, Keys, NewKey
from app.api.state import principal_of, resources_of
from app.api.validation_errors import validate
from app.auth.api_key import ID
from app.auth.key_cache import KeyCache
from app.auth.principal import FILE_PREFIX, Principal, require_admin
from app.errors import Conflict, InvalidRequest, NotFound
from app.settings.gateway import Settings

router = APIRouter()
ISSUED, KEYS = TypeAdapter(IssuedKey), TypeAdapter(Keys)

log = logging.getLogger(__name__)


@router.post(
    "/v1/keys",
    status_code=201,
    **documents.operation(
        "keys",
        {
            201: documents.answer("The key; only this response shows its secret.", IssuedKey),
            **documents.problems(*documents.KEYED, *documents.BODY, Conflict),
        },
        requestBody=documents.request_body(NewKey),
    ),
)
async def issue_key(request: Request) -> Response:
    """Issue a key. Only this response shows its secret."""
    admin, keys = _authorize(request)
    new_key = validate(NewKey, await read_json(request))
    text, record = await keys.store.issue(new_key.grant(), admin.id)
    log.info("key issued", extra={"key_id": record.id, "by": admin.id})
    answer = IssuedKey.of(text, record, lasting=_persistent(resources_of(request).settings))
    return Response(ISSUED.dump_json(answer), 201, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get(
    "/v1/keys",
    **documents.operation(
        "keys",
        {
            200: documents.answer("A page of keys.", Keys),
            **documents.problems(*documents.KEYED, Conflict, InvalidRequest),
        },
        parameters=[
            documents.parameter("after", "the `next` of the previous page", "query", pattern=f"^{ID.pattern}$")
        ],
    ),
)
async def list_keys(request: Request) -> Response:
    """The issued keys, including revoked keys, without their secrets; a thousand per page."""
    _, keys = _authorize(request)
    after = request.query_params.get("after")
    if after is not None and not ID.fullmatch(after):
        raise InvalidRequest("after must be the id of a key", fields=[("after", "must be the id of a key")])
    records, following = await keys.store.page(after or "")
    answer = Keys([Key.of(record) for record in records], following)
    return Response(KEYS.dump_json(answer), media_type="application/json")


@router.delete(
    "/v1/keys/{key_id}",
    status_code=204,
    **documents.operation(
        "keys",
        {
            204: {"description": "The key is revoked.", "headers": documents.REQUEST_ID_HEADER},
            **documents.problems(*documents.KEYED, Conflict, NotFound),
        },
        parameters=[{**documents.parameter("key_id", "the `id` of the issued key", "path"), "required": True}],
    ),
)
async def revoke_key(request: Request) -> Response:
    """Revoke a key. Within five seconds no replica accepts it. Revoking it again has no effect."""
    admin, keys = _authorize(request)
    key_id = request.path_params["key_id"]
    if key_id.startswith(FILE_PREFIX):
        raise Conflict("to revoke a key of the keys file, remove its line and restart the gateway")
    if not ID.fullmatch(key_id) or not await keys.store.revoke(key_id):
        raise NotFound("no issued key has this id")
    keys.forget(key_id)
    log.info("key revoked", extra={"key_id": key_id, "by": admin.id})
    return Response(status_code=204)


def _persistent(settings: Settings) -> bool:
    """Whether the store keeps its data when the gateway stops."""
    return settings.redis_url is not None or settings.store_dir is not None


def _authorize(request: Request) -> tuple[Principal, KeyCache]:
    """Return the admin and the keys. Raises `Forbidden` for other principals, `Conflict` where keys are off."""
    principal, resources = principal_of(request), resources_of(request)
    require_admin(principal)
    if resources.settings.api_keys_file is None:
        raise Conflict("keys are off: set CONVICTION_API_KEYS_FILE to a file with the first keys")
    return principal, resources.keys
