"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.state import resources_of

router = APIRouter()


@router.get(
    "/metrics",
    **documents.operation(
        "operation",
        {
            200: {
                "description": "Prometheus text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **documents.problems(*documents.KEYED),
        },
    ),
)
async def get_metrics(request: Request) -> Response:
    """All metrics in Prometheus text format."""
    resources = resources_of(request)
    await resources.backend_limits.observe(resources.upstreams.values())
    return Response(resources.collectors.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
