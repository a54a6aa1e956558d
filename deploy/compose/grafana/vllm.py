"""vLLM: the server of the hosted model, by its own metrics."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.compose.grafana.board import board
from deploy.compose.grafana.panels import HALF, Panel, lines, numbers
from deploy.compose.grafana.queries import Query, quantiles
from deploy.compose.grafana.thresholds import USED
from deploy.compose.grafana.variables import SERVER, SERVERS

NAME = "{{instance}}"
UP = f'up{{job="vllm", {SERVER}}}'


def dashboard() -> Dashboard:
    about = "The servers of the hosted model: queue, KV cache, prefix cache, speed."
    rows = {"State": state(), "Load": load(), "Speed": speed(), "Requests": requests()}
    return board("vLLM", "vllm", about, rows, SERVERS)


def state() -> Iterator[Panel]:
    yield numbers("Servers up", "none", Query(f"sum({UP})", "up"), Query(f"count({UP})", "known"))
    yield numbers("Requests waiting", "none", Query(f"sum(vllm:num_requests_waiting{{{SERVER}}})", "waiting"))
    yield numbers(
        "KV cache used",
        "percentunit",
        Query(f"max(vllm:kv_cache_usage_perc{{{SERVER}}})", "the fullest"),
        thresholds=USED,
    )
    yield numbers(
        "Prefix cache hits",
        "percentunit",
        Query(
            f"sum({rate('prefix_cache_hits_total', '5m')}) / (sum({rate('prefix_cache_queries_total', '5m')}) > 0)",
            "hits",
        ),
        about="Share of prompt tokens from the cache. Every prompt starts with the same fixed part.",
    )


def load() -> Iterator[Panel]:
    yield lines(
        "Running and queued requests",
        "none",
        Query(f"sum by (instance) (vllm:num_requests_running{{{SERVER}}})", f"{NAME}, running"),
        Query(f"sum by (instance) (vllm:num_requests_waiting{{{SERVER}}})", f"{NAME}, waiting"),
        about="Add servers when requests wait; processor load is no indicator.",
    )
    yield lines(
        "KV cache used",
        "percentunit",
        Query(f"max by (instance) (vllm:kv_cache_usage_perc{{{SERVER}}})", NAME),
        thresholds=USED,
    ).max(1)
    yield lines(
        "Prefix cache hits",
        "percentunit",
        Query(
            f"sum by (instance) ({rate('prefix_cache_hits_total')})"
            f" / (sum by (instance) ({rate('prefix_cache_queries_total')}) > 0)",
            NAME,
        ),
    ).max(1)


def speed() -> Iterator[Panel]:
    yield lines(
        "Tokens a second",
        "none",
        Query(f"sum({rate('prompt_tokens_total')})", "prompt"),
        Query(f"sum({rate('generation_tokens_total')})", "generated"),
        logarithmic=True,
    )
    yield lines(
        "Time to first token", "s", *quantiles("vllm:time_to_first_token_seconds", "instance", SERVER), logarithmic=True
    )
    yield lines(
        "Inter-token latency", "s", *quantiles("vllm:inter_token_latency_seconds", "instance", SERVER), logarithmic=True
    )


def requests() -> Iterator[Panel]:
    yield lines(
        "Phases of a request",
        "s",
        *(
            Query(
                f"sum({rate(f'request_{part}_time_seconds_sum')})"
                f" / (sum({rate(f'request_{part}_time_seconds_count')}) > 0)",
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
        Query(f"sum by (finished_reason) ({rate('request_success_total')})", "{{finished_reason}}"),
        Query(f"sum({rate('num_preemptions_total')})", "preempted"),
        about="length: cut off; preempted: back in the queue because the KV cache was full.",
        width=HALF,
    )


def rate(metric: str, span: str = "$__rate_interval") -> str:
    """Return the rates of a counter of the chosen servers."""
    return f"rate(vllm:{metric}{{{SERVER}}}[{span}])"
