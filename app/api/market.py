"""GET /v1/market: a stock's bars, by the look-up that recommendations by ticker use, and the market's tickers."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.api import documents
from app.api.disconnect import cancel_on_disconnect
from app.api.market_schemas import Bars, BarsPath, BarsQuery, Tickers, TickersQuery
from app.api.query import read_query
from app.api.request_options import request_options
from app.api.state import resources_of
from app.api.validation_errors import validate
from app.completions.request import RequestOptions
from app.contract.readings import PIVOTS
from app.errors import (
    DeadlineExceeded,
    InsufficientHistory,
    InvalidRequest,
    MarketDataRateLimited,
    MarketDataUnavailable,
    RateLimited,
    UnknownTicker,
)
from app.market.source import LookUp
from app.resources import Resources

TAG = "market"
BARS, TICKERS = TypeAdapter(Bars), TypeAdapter(Tickers)

router = APIRouter()


@router.get(
    "/v1/market/{ticker}/bars",
    **documents.operation(
        TAG,
        {
            200: documents.answer("The bars.", Bars),
            **documents.problems(
                *(*documents.KEYED, InvalidRequest, UnknownTicker, InsufficientHistory),
                *(MarketDataUnavailable, MarketDataRateLimited, RateLimited, DeadlineExceeded),
            ),
        },
        parameters=[
            {**documents.query_parameters(BarsPath)[0], "in": "path", "required": True},
            *documents.query_parameters(BarsQuery),
            documents.TIMEOUT,
        ],
    ),
)
async def get_bars(request: Request) -> Response:
    """A stock's daily closes and volumes up to a close, with the indicators that charts show and their source."""
    ticker = validate(BarsPath, request.path_params).ticker
    query, resources = read_query(request, BarsQuery), resources_of(request)
    options = request_options(request, resources.settings)
    found = await cancel_on_disconnect(request, _look_up(resources, ticker, query.as_of, options))
    return Response(BARS.dump_json(_bars(found, query.sessions)), media_type="application/json")


@router.get(
    "/v1/market/tickers",
    **documents.operation(
        TAG,
        {
            200: documents.answer("The tickers.", Tickers),
            **documents.problems(*documents.KEYED, InvalidRequest, MarketDataUnavailable),
        },
        parameters=documents.query_parameters(TickersQuery),
    ),
)
async def list_tickers(request: Request) -> Response:
    """The tickers of the configured market, where its source can list them."""
    query, market = read_query(request, TickersQuery), resources_of(request).market
    listed = await market.tickers()
    prefix = (query.prefix or "").upper()
    matching = [ticker for ticker in listed or () if ticker.startswith(prefix)]
    answer = Tickers(
        market.provider.name, listed is not None, matching[: query.limit], more=len(matching) > query.limit
    )
    return Response(TICKERS.dump_json(answer), media_type="application/json")


async def _look_up(resources: Resources, ticker: str, as_of: date | None, options: RequestOptions) -> LookUp:
    """Return the stock's metrics and bars. A fetch is counted against the key's request limit."""
    market, principal = resources.market, options.principal
    async with options.deadline.limit("no bars of the ticker in time"):
        if market.needs_fetch(ticker, as_of):
            await resources.reservations.count_request(principal)
        return await market.look_up(ticker, as_of, principal.id)


def _bars(found: LookUp, sessions: int) -> Bars:
    from app.market.history import DECIMALS, lines  # imports pandas and TA-Lib, as the look-up has

    snapshot, history = found.snapshot, found.history
    dates = [date.fromordinal(day) for day in history.days[-sessions:]]
    known = snapshot.metrics.values()
    return Bars(
        ticker=snapshot.ticker,
        as_of=dates[-1],
        dates=dates,
        closes=[round(close, DECIMALS) for close in history.closes[-sessions:]],
        volumes=[round(volume) for volume in history.volumes[-sessions:]],
        indicators=lines(history, sessions),
        levels={name: known[name] for name in PIVOTS if name in known},
        bars_source=snapshot.source.of_bars(),
    )
