"""vLLM: the server of the hosted model, by its own metrics."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, Panel, lines, numbers
from deploy.compose.grafana.queries import Query, quantiles
from deploy.compose.grafana.thresholds import USED

SERVER = "{{instance}}"


def dashboard() -> Dashboard:
    about = "The servers of the hosted model: queue, KV cache, prefix cache, speed."
    return board("vLLM", "vllm", about, {"State": state(), "Load": load(), "Speed": speed(), "Requests": requests()})


def state() -> Iterator[Panel]:
    yield numbers("Servers up", "none", Query('sum(up{job="vllm"})', "up"), Query('count(up{job="vllm"})', "known"))
    yield numbers("Requests waiting", "none", Query("sum(vllm:num_requests_waiting)", "waiting"))
    yield numbers(
        "KV cache used", "percentunit", Query("max(vllm:kv_cache_usage_perc)", "the fullest"), thresholds=USED
    )
    yield numbers(
        "Prefix cache hits",
        "percentunit",
        Query(
            "sum(rate(vllm:prefix_cache_hits_total[5m])) / (sum(rate(vllm:prefix_cache_queries_total[5m])) > 0)",
            "hits",
        ),
        about="Share of prompt tokens from the cache. Every prompt starts with the same fixed part.",
    )


def load() -> Iterator[Panel]:
    yield lines(
        "Running and queued requests",
        "none",
        Query("sum by (instance) (vllm:num_requests_running)", f"{SERVER}, running"),
        Query("sum by (instance) (vllm:num_requests_waiting)", f"{SERVER}, waiting"),
        about="Add servers when requests wait; processor load is no indicator.",
    )
    yield lines(
        "KV cache used",
        "percentunit",
        Query("max by (instance) (vllm:kv_cache_usage_perc)", SERVER),
        thresholds=USED,
    ).max(1)
    yield lines(
        "Prefix cache hits",
        "percentunit",
        Query(
            "sum by (instance) (rate(vllm:prefix_cache_hits_total[$__rate_interval]))"
            " / (sum by (instance) (rate(vllm:prefix_cache_queries_total[$__rate_interval])) > 0)",
            SERVER,
        ),
    ).max(1)


def speed() -> Iterator[Panel]:
    yield lines(
        "Tokens a second",
        "none",
        Query("sum(rate(vllm:prompt_tokens_total[$__rate_interval]))", "prompt"),
        Query("sum(rate(vllm:generation_tokens_total[$__rate_interval]))", "generated"),
        logarithmic=True,
    )
    yield lines(
        "Time to first token", "s", *quantiles("vllm:time_to_first_token_seconds", "instance"), logarithmic=True
    )
    yield lines(
        "Inter-token latency", "s", *quantiles("vllm:inter_token_latency_seconds", "instance"), logarithmic=True
    )


def requests() -> Iterator[Panel]:
    yield lines(
        "Phases of a request",
        "s",
        *(
            Query(
                f"sum(rate(vllm:request_{part}_time_seconds_sum[$__rate_interval]))"
                f" / (sum(rate(vllm:request_{part}_time_seconds_count[$__rate_interval])) > 0)",
                part,
            )
            for part in ("queue", "prefill", "decode")
        ),
        about="Mean of finished requests.",
        width=HALF,
        stacked=True,
    )
    yield lines(
        "Finished and preempted requests a second",
        "reqps",
        Query("sum by (finished_reason) (rate(vllm:request_success_total[$__rate_interval]))", "{{finished_reason}}"),
        Query("sum(rate(vllm:num_preemptions_total[$__rate_interval]))", "preempted"),
        about="length: cut off; preempted: back in the queue because the KV cache was full.",
        width=HALF,
    )
