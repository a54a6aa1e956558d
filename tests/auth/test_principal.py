"""Principals: their backends and limits."""

from __future__ import annotations

import pytest

from app.auth.principal import (
    Principal,
    default_limits,
    file_principal,
    local_principal,
    require_admin,
    require_backend,
)
from app.errors import Forbidden
from app.pricing.limits import Limits
from app.settings.gateway import Settings

NONE = Limits(None, None, None)
SCOPED = Principal("0123456789ab", "ann", frozenset({"mistral"}), False, NONE)


def test_a_key_is_limited_to_its_backends() -> None:
    require_backend(SCOPED, "mistral")
    with pytest.raises(Forbidden, match="may not use gpt-4; it may use mistral"):
        require_backend(SCOPED, "gpt-4")


@pytest.mark.parametrize("principal", [local_principal(NONE), file_principal("ann", NONE)])
def test_local_and_file_principals_may_do_everything(principal: Principal) -> None:
    require_backend(principal, "mistral")
    require_backend(principal, "gpt-4")
    require_admin(principal)


def test_admin_requests_are_refused_to_others() -> None:
    with pytest.raises(Forbidden, match="admin"):
        require_admin(SCOPED)


def test_settings_are_the_default_limits() -> None:
    assert default_limits(Settings()) == NONE
    settings = Settings.model_validate(
        {"key_requests_per_minute": 60, "key_tokens_per_minute": 9000, "key_usd_per_day": "0.000000001"}
    )
    assert default_limits(settings) == Limits(60, 9000, 1)
