from __future__ import annotations

from bench.end_to_end import LOADS, hit_rate, medians, table


def metrics(hits: float, queries: float) -> str:
    return (
        "# HELP vllm:prefix_cache_hits_total Prefix cache hits\n"
        f'vllm:prefix_cache_hits_total{{engine="0",model_name="m"}} {hits}\n'
        f'vllm:prefix_cache_queries_total{{engine="0",model_name="m"}} {queries}\n'
    )


def test_hit_rate_is_of_the_tokens_between_two_readings() -> None:
    assert hit_rate(metrics(100, 1000), metrics(175, 1300)) == 0.25


def test_there_is_no_hit_rate_without_prompts() -> None:
    assert hit_rate(metrics(100, 1000), metrics(100, 1000)) is None


def test_a_row_states_the_medians_of_a_load() -> None:
    rounds = [
        {"answers_per_second": n, "tokens_per_second": 11 * n, "first_text_s": 0.2, "ms_per_token": 30}
        for n in (1, 9, 2)
    ]
    assert [*table({"brief, 8 clients": {"vLLM alone": medians(rounds)}})][2:] == [
        "| brief, 8 clients | vLLM alone | 2 | 22 | 0.2 | 30 |"
    ]


def test_every_client_has_a_request() -> None:
    assert all(load.requests >= load.clients for load in LOADS)
