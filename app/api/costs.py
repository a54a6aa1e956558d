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

from app.accounting import cost_report
from app.accounting.recent_usage import Use
from app.api import documents
from app.api.state import resources_of
from app.contract.completion import BackendName
from app.pricing.prices import CapacityPrice, ListPrice
from app.resources import Resources

router = APIRouter()


@dataclass(frozen=True)
class Costs:
    """The backends' costs, and the usage that they were computed from."""

    at: datetime
    models: dict[BackendName, str | None]
    use: Annotated[dict[BackendName, Use], Field(description="the last hour's usage of all gateways on the store")]
    hosted: Annotated[cost_report.Hosted | None, Field(description="mistral; null if it is not configured")]
    api: Annotated[cost_report.Api | None, Field(description="gpt-4; null if it is not configured")]
    break_even: Annotated[cost_report.BreakEven | None, Field(description="null if mistral is not configured")]
    case_study: cost_report.CaseStudy


COSTS = TypeAdapter(Costs)


@router.get(
    "/v1/costs",
    **documents.operation(
        "operation", {200: documents.answer("The costs.", Costs), **documents.problems(*documents.KEYED)}
    ),
)
async def get_costs(request: Request) -> Response:
    """The hourly cost, the cost of tokens at present use and at capacity, and the break-even of hosting."""
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
        hosted=cost_report.hosted(hourly, replicas, use["mistral"]) if isinstance(hourly, CapacityPrice) else None,
        api=cost_report.api(listed, use["gpt-4"]) if isinstance(listed, ListPrice) else None,
        break_even=cost_report.break_even(hourly, replicas, use["gpt-4"])
        if isinstance(hourly, CapacityPrice)
        else None,
        case_study=cost_report.case_study(),
    )
