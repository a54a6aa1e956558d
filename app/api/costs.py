"""GET /v1/costs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.accounting import cost_report as bill
from app.accounting.recent_usage import Use
from app.api import comparison_documents as documents
from app.api.state import resources_of
from app.contract.completion import BackendName
from app.pricing.prices import CapacityPrice, ListPrice
from app.resources import Resources

router = APIRouter()


@dataclass(frozen=True)
class Costs:
    """What the backends cost, and the use that the figures at present use are of."""

    at: datetime
    models: dict[BackendName, str | None]
    use: Annotated[dict[BackendName, Use], Field(description="the last hour's, of all gateways on the store")]
    hosted: Annotated[bill.Hosted | None, Field(description="mistral; null where it is not set up")]
    api: Annotated[bill.Api | None, Field(description="gpt-4; null where it is not set up")]
    break_even: Annotated[bill.BreakEven | None, Field(description="null where mistral is not set up")]
    case_study: bill.CaseStudy


COSTS = TypeAdapter(Costs)


@router.get("/v1/costs", **documents.COSTS)
async def costs(request: Request) -> Response:
    """The bill by the hour, what tokens cost at present use and at capacity, and where hosting pays."""
    found = await _costs(resources_of(request))
    return Response(COSTS.dump_json(found), media_type="application/json")


async def _costs(resources: Resources) -> Costs:
    upstreams, settings = resources.upstreams, resources.settings
    use = dict(zip(upstreams, await asyncio.gather(*map(resources.recent_usage.of, upstreams)), strict=True))
    models = {name: upstream.backend.model or None for name, upstream in upstreams.items()}
    hourly, listed = upstreams["mistral"].price, upstreams["gpt-4"].price
    replicas = max(1, settings.hosted_servers)
    return Costs(
        at=datetime.now(UTC),
        models=models,
        use=use,
        hosted=bill.hosted(hourly, replicas, use["mistral"]) if isinstance(hourly, CapacityPrice) else None,
        api=bill.api(listed, use["gpt-4"]) if isinstance(listed, ListPrice) else None,
        break_even=bill.break_even(hourly, replicas, use["gpt-4"]) if isinstance(hourly, CapacityPrice) else None,
        case_study=bill.case_study(),
    )
