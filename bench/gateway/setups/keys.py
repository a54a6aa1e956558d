"""LiteLLM's `custom_auth`: one key with its own limits, as in its documentation."""

import os
import secrets

from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth  # type: ignore[import-not-found]

KEY = os.environ["GATEWAY_KEY"]


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:  # noqa: ARG001 - its name is fixed
    if not secrets.compare_digest(api_key, KEY):
        raise ProxyException("unknown key", type="invalid_request_error", param="api_key", code=401)
    return UserAPIKeyAuth(api_key=api_key, user_id="bench", rpm_limit=100_000_000, tpm_limit=1_000_000_000_000)
