"""The composition root: builds the resources when the gateway starts and closes them when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from app.accounting.admission import Admissions
from app.accounting.backend_limits import BackendLimits
from app.accounting.budget_watch import open_budget_watch
from app.accounting.recent_usage import RecentUsage
from app.accounting.reservations import Reservations
from app.accounting.settlement import Settlements
from app.auth.key_cache import KeyCache
from app.auth.key_store import KeyStore
from app.auth.principal import default_limits
from app.backends.base import Backend
from app.backends.registry import build_backends
from app.backends.upstream import Upstream, open_upstream
from app.comparison.pair_store import Comparisons
from app.comparison.report_service import Reports
from app.comparison.shadow import Shadow
from app.completions.service import CompletionService
from app.contract.completion import CANDIDATE, BackendName
from app.decision_log.log import DecisionLog, open_decision_log
from app.errors import MarketDataRateLimited, MarketError, NotConfigured
from app.market import open_provider
from app.market.dated_sample import DatedSample
from app.market.provider import Provider
from app.market.snapshots import Freshness, SnapshotCache
from app.pricing.prices import CapacityPrice, Price, shutdown_warning
from app.recommend import Recommender
from app.routing.canary import Canary
from app.routing.canary_store import CanaryStore
from app.settings.gateway import Settings
from app.stores.connection import open_redis, require_standalone
from app.stores.idempotency import Idempotency
from app.stores.pipelined import Pipelined
from app.stores.shared_calls import SharedCalls
from app.telemetry.metrics import Collectors

PROBE = "SPY"
"""A ticker that every live market data source knows."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """The long-lived objects that endpoints use."""

    settings: Settings
    market: SnapshotCache
    upstreams: Mapping[BackendName, Upstream]
    recommender: Recommender
    shadow: Shadow
    canary: Canary
    completions: CompletionService
    reservations: Reservations
    backend_limits: BackendLimits
    redis: Redis
    keys: KeyCache
    idempotency: Idempotency
    comparisons: Comparisons
    reports: Reports
    recent_usage: RecentUsage
    decisions: DecisionLog
    collectors: Collectors

    def upstream(self, name: BackendName) -> Upstream:
        """Return the upstream of a backend. Raises `NotConfigured` for a candidate that is none of this gateway's."""
        found = self.upstreams.get(name)
        if found is None:
            raise NotConfigured(f"{name} is not set up: set CONVICTION_CANDIDATE_URLS")
        return found


@asynccontextmanager
async def open_resources(settings: Settings, prices: Mapping[BackendName, Price]) -> AsyncIterator[Resources]:
    """Open the resources that the settings name. None of the servers needs to be reachable yet."""
    async with open_redis(settings.redis_url, settings.store_dir) as redis, AsyncExitStack() as stack:
        await require_standalone(redis)
        backends = build_backends(settings)
        for backend in backends.values():
            stack.push_async_callback(backend.close)
        market = await open_market(settings)
        yield await stack.enter_async_context(assembled(settings, redis, market, backends, prices))


@asynccontextmanager
async def assembled(
    settings: Settings,
    redis: Redis,
    provider: Provider,
    backends: Mapping[BackendName, Backend],
    prices: Mapping[BackendName, Price],
) -> AsyncIterator[Resources]:
    """Assemble the resources around a store, a market and backends. On exit all calls have ended and are charged."""
    collectors = Collectors(backends, settings.metrics_key_names)
    _publish(settings, prices, collectors)
    store = Pipelined(redis)
    admissions, shared_calls = Admissions(store), SharedCalls(redis, store)
    watch = open_budget_watch(settings, admissions, store, collectors)
    reservations = Reservations(admissions, Settlements(admissions, collectors), collectors, watch)
    limits = BackendLimits(admissions, collectors)
    comparisons = Comparisons(store, settings.comparisons_kept)
    completions = CompletionService(
        shared_calls,
        reservations,
        collectors,
        cache_s=settings.cache_s,
        call_timeout_s=settings.backend_timeout_s,
    )
    async with open_decision_log(settings, collectors) as decisions, AsyncExitStack() as stack:
        upstreams = {
            name: open_upstream(backend, prices.get(name), settings, collectors) for name, backend in backends.items()
        }
        market = SnapshotCache(
            provider, settings.market_options, Freshness(settings.market_fresh_s, settings.market_stale_s)
        )
        recommender = Recommender(market, completions)
        canary = Canary(CanaryStore(store), settings, collectors)
        shadow = Shadow(settings, recommender, upstreams, limits, comparisons, collectors, canary.observe_pair)
        watches = (watch,) if watch else ()
        for resource in (store, shared_calls, *watches, reservations, completions, shadow):  # closed in reverse order
            stack.push_async_callback(resource.close)
        if CANDIDATE in upstreams:
            await stack.enter_async_context(canary.running())
        yield Resources(
            settings=settings,
            market=market,
            upstreams=upstreams,
            recommender=recommender,
            shadow=shadow,
            canary=canary,
            completions=completions,
            reservations=reservations,
            backend_limits=limits,
            redis=redis,
            keys=KeyCache(KeyStore(redis), default_limits(settings)),
            idempotency=Idempotency(store),
            comparisons=comparisons,
            reports=Reports(comparisons),
            recent_usage=RecentUsage(store),
            decisions=decisions,
            collectors=collectors,
        )


async def open_market(settings: Settings) -> Provider:
    """Return the configured market, or the configured fallback if Yahoo Finance is unreachable."""
    provider = await asyncio.to_thread(open_provider, settings.market, settings.market_dir)
    if settings.market != "yfinance" or settings.market_fallback is None:
        return provider
    try:
        await asyncio.to_thread(provider.bars, PROBE, None)
    except MarketDataRateLimited:
        return provider
    except MarketError as error:
        log.warning("%s: using the %s market instead", error.detail, settings.market_fallback)
        sample = await asyncio.to_thread(open_provider, "sample")
        return DatedSample(sample) if settings.market_fallback == "dated-sample" else sample
    return provider


def _publish(settings: Settings, prices: Mapping[BackendName, Price], collectors: Collectors) -> None:
    """Publish the constant metrics, and warn of an announced model shutdown."""
    replicas: dict[BackendName, int] = {"mistral": settings.hosted_servers}
    if settings.candidate_urls:
        replicas["candidate"] = settings.candidate_servers
    for name, servers in replicas.items():
        if isinstance(price := prices.get(name), CapacityPrice):
            collectors.hosting_price.labels(name).set(float(price.usd_per_hour))
        collectors.replicas.labels(name).set(servers)
    if settings.vllm_profile:
        log.info("mistral is served on %s: %s", settings.vllm_profile.machine, settings.vllm_profile)
    warning = shutdown_warning(settings.gpt4_model, datetime.now(UTC).date())
    if warning and settings.openai_api_key:
        log.warning(warning)
