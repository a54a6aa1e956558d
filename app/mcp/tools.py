"""The tools. Each forwards its arguments to one endpoint of the gateway and returns the endpoint's document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from app.contract.completion import BackendName
from app.contract.features import Day, Metrics, Ticker
from app.contract.prompt import Detail
from app.mcp.gateway import Gateway, Json, Refused

INSTRUCTIONS = (
    "Buy, sell or hold for US stocks, with a conviction from 1 to 10, from option statistics and technical indicators. "
    "Each answer costs money and counts against the limits of the key. An error states whether and when to retry. "
    "Nothing here is investment advice."
)
READS = ToolAnnotations(read_only_hint=True)
STORES = ToolAnnotations(read_only_hint=False, destructive_hint=False)

Call = Context[Gateway, Any]
AsOf = Annotated[Day | None, Field(description="with a ticker only: use its last close on or before this day")]
Figures = Annotated[Metrics | None, Field(description="at least three; without them the ticker is looked up")]
Blind = Annotated[bool, Field(description="omit the ticker from the prompt, so that only the metrics decide")]
Amount = Annotated[Detail, Field(description="full: with an analysis; brief: action and conviction only")]


def add_tools(server: MCPServer[Gateway]) -> None:
    server.add_tool(recommend, annotations=READS)
    server.add_tool(compare, annotations=STORES)
    server.add_tool(costs, annotations=READS)
    server.add_tool(history, annotations=READS)


async def recommend(
    call: Call,
    ticker: Ticker | None = None,
    as_of: AsOf = None,
    metrics: Figures = None,
    detail: Amount = "full",
    blind: Blind = False,
    backend: Annotated[
        BackendName | Literal["cascade"] | None, Field(description="the backend that answers; the gateway's default")
    ] = None,
) -> Json:
    """Recommend to buy, sell or hold one stock, with a conviction, probabilities, an analysis, and the cost in USD."""
    headers = {"X-Backend": backend} if backend else {}
    question = _question(ticker, as_of, metrics, detail, blind=blind)
    return await _ask(call, "POST", "/v1/recommendations", headers=headers, json=question)


async def compare(
    call: Call,
    ticker: Ticker | None = None,
    as_of: AsOf = None,
    metrics: Figures = None,
    detail: Amount = "full",
    blind: Blind = False,
) -> Json:
    """Ask both backends the same question about one stock, and state whether they agree. The pair is stored."""
    question = _question(ticker, as_of, metrics, detail, blind=blind)
    return await _ask(call, "POST", "/v1/comparisons", json=question)


async def costs(call: Call) -> Json:
    """State what each backend costs: its prices, the last hour's usage, and the break-even between the backends."""
    return await _ask(call, "GET", "/v1/costs")


async def history(
    call: Call,
    ticker: Ticker,
    limit: Annotated[int, Field(ge=1, le=200, description="the number of recommendations")] = 10,
) -> Json:
    """List earlier recommendations for one stock, the newest first: those that this key received."""
    try:
        return await _ask(call, "GET", "/v1/recommendations", params={"ticker": ticker, "limit": str(limit)})
    except Refused as error:
        if error.code not in ("not_found", "method_not_allowed"):
            raise
        raise ToolError("this gateway keeps no history: it has no GET /v1/recommendations") from None


async def _ask(call: Call, method: str, path: str, **request: Any) -> Json:
    return await call.request_context.lifespan_context.ask(method, path, call.headers, **request)


def _question(ticker: str | None, as_of: Day | None, metrics: Metrics | None, detail: Detail, *, blind: bool) -> Json:
    """Return the body of a question."""
    fields = {
        "ticker": ticker,
        "as_of": as_of and as_of.isoformat(),
        "metrics": metrics and metrics.document(),
        "detail": detail,
        "blind": blind,
    }
    return {name: value for name, value in fields.items() if value is not None}
