"""Settings that report who spends: key names in metrics, and the webhook for budgets."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from app.settings.addresses import proxy_for, require_address
from app.settings.loading import EnvironmentSettings, split_commas

MAX_NAMES = 50
"""Names of keys in the metrics: each has four series."""
KEY_TEXT = re.compile(r"(cvk_|sk-)\S{8}")


def _require_name(name: str) -> str:
    if not name.isprintable() or len(name) > 64 or KEY_TEXT.search(name):
        raise ValueError("must hold names of keys, of up to 64 printable characters, and no key")
    return name


KeyName = Annotated[str, AfterValidator(_require_name)]


class BudgetSettings(EnvironmentSettings):
    metrics_key_names: Annotated[
        tuple[KeyName, ...], NoDecode, BeforeValidator(split_commas), Field(max_length=MAX_NAMES)
    ] = ()
    """Names of the keys whose tokens and cost the metrics show by name, comma separated; all other keys count as
    `other`. None: no metrics by key."""
    budget_webhook_url: SecretStr | None = None
    """Where a notice is sent when a key or a backend has used 50, 80 and 100% of its budget for the day. Secret, since
    it may contain a token."""
    budget_webhook_secret: SecretStr | None = None
    """Key of the HMAC-SHA256 of a notice, which the header X-Conviction-Signature states; None: unsigned."""

    @field_validator("budget_webhook_url")
    @classmethod
    def _require_http_url(cls, url: SecretStr | None) -> SecretStr | None:
        """Raise `ValueError`, without the value, for a URL to which nothing can be posted."""
        if url is None:
            return None
        text = url.get_secret_value()
        if not text.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        require_address(text)
        return url

    @model_validator(mode="after")
    def _require_usable_webhook(self) -> Self:
        if self.budget_webhook_url is not None:
            proxy_for(self.budget_webhook_url.get_secret_value())
        elif self.budget_webhook_secret is not None:
            raise ValueError("CONVICTION_BUDGET_WEBHOOK_URL: needed, since CONVICTION_BUDGET_WEBHOOK_SECRET is set")
        return self
