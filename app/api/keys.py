"""/v1/keys: issuing, listing and revoking keys, for admins."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.body import read_json
from app.api.key_schemas import ApiKey, Key, Keys, NewKey
from app.api.state import principal_of, resources_of
from app.api.validation_errors import refusal
from app.auth.api_key import ID
from app.auth.key_cache import KeyCache
from app.auth.principal import FILE_PREFIX, Principal, require_admin
from app.errors import Conflict, InvalidRequest, NotFound
from app.settings.gateway import Settings

router = APIRouter()
ISSUED, KEYS = TypeAdapter(ApiKey), TypeAdapter(Keys)

log = logging.getLogger(__name__)


@router.post("/v1/keys", status_code=201, **documents.ISSUE_KEY)
async def issue(request: Request) -> Response:
    """Issue a key, which is shown this once."""
    admin, keys = _admitted(request)
    try:
        wanted = NewKey.model_validate(await read_json(request))
    except ValidationError as error:
        raise refusal(error) from None
    text, record = await keys.store.issue(wanted.grant(), admin.id)
    log.info("key issued", extra={"key_id": record.id, "by": admin.id})
    answer = ApiKey.of(text, record, lasting=_lasting(resources_of(request).settings))
    return Response(ISSUED.dump_json(answer), 201, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/v1/keys", **documents.KEYS)
async def listed(request: Request) -> Response:
    """The issued keys, the revoked ones too, without their secrets; a thousand a page."""
    _, keys = _admitted(request)
    after = request.query_params.get("after")
    if after is not None and not ID.fullmatch(after):
        raise InvalidRequest("after must be the id of a key", fields=[("after", "must be the id of a key")])
    records, shared_calls = await keys.store.page(after or "")
    answer = Keys([Key.of(record) for record in records], shared_calls)
    return Response(KEYS.dump_json(answer), media_type="application/json")


@router.delete("/v1/keys/{key_id}", status_code=204, **documents.REVOKE_KEY)
async def revoke(request: Request) -> Response:
    """End a key for good; it opens nothing five seconds later, on any replica. Once more does no harm."""
    admin, keys = _admitted(request)
    key_id = request.path_params["key_id"]
    if key_id.startswith(FILE_PREFIX):
        raise Conflict("a key of the keys file is revoked by taking its line out and starting the gateway again")
    if not ID.fullmatch(key_id) or not await keys.store.revoke(key_id):
        raise NotFound("no key that was issued has this id")
    keys.forget(key_id)
    log.info("key revoked", extra={"key_id": key_id, "by": admin.id})
    return Response(status_code=204)


def _lasting(settings: Settings) -> bool:
    """Whether the store outlives the gateway."""
    return settings.redis_url is not None or settings.store_dir is not None


def _admitted(request: Request) -> tuple[Principal, KeyCache]:
    """The admin who asks, and the keys. Raises `Forbidden` for others, `Conflict` where keys are off."""
    principal, resources = principal_of(request), resources_of(request)
    require_admin(principal)
    if resources.settings.api_keys_file is None:
        raise Conflict("keys are off: CONVICTION_API_KEYS_FILE, which names a file of the first keys, turns them on")
    return principal, resources.keys
