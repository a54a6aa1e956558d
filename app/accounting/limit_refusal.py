"""The error for a call that a limit refuses: which limit, of what kind of scope, and when to retry."""

from __future__ import annotations

from app.accounting.limit_status import LimitStatus, Reason, kind
from app.errors import BudgetExceeded, LimitReached, RateLimited
from app.pricing.limits import Scope
from app.pricing.prices import in_usd


def refusal(scope: Scope, reason: Reason, wait_us: int, limit_status: LimitStatus) -> LimitReached:
    """Return the error; a negative wait means that the call exceeds the limit itself, so a retry cannot succeed."""
    owner, limit = kind(scope.name), _limit(scope, reason)
    if reason == "budget" and wait_us >= 0:
        detail = f"what is left of the {owner}'s {limit} does not cover the request"
    elif wait_us < 0:
        detail = f"the request may take more than the {owner}'s limit of {limit}"
    else:
        detail = f"the {owner}'s limit of {limit} is reached"
    error = BudgetExceeded if reason == "budget" else RateLimited
    retry_after = None if wait_us < 0 else wait_us / 1e6
    return error(detail, scope=owner, reason=reason, limits=limit_status.headers(), retry_after=retry_after)


def _limit(scope: Scope, reason: Reason) -> str:
    limits = scope.limits
    match reason:
        case "requests":
            return f"{limits.requests_per_minute} requests a minute"
        case "tokens":
            return f"{limits.tokens_per_minute} tokens a minute"
        case "budget":
            return f"{in_usd(limits.nano_usd_per_day or 0)} USD a day"
