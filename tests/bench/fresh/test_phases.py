from __future__ import annotations

from bench.fresh.phases import phases
from bench.fresh.serving import Line

FIRST = [
    Line(0.1, "gateway: installing into .envs/gateway"),
    Line(0.2, "AMD EPYC (AVX-512), 2 cores, 24 GiB"),
    Line(0.3, "vllm: installing into .envs/vllm"),
    Line(20.4, "vllm: still installing, 20 s"),
    Line(27.1, "gateway: ready after 27 s"),
    Line(51.3, "vllm: ready after 51 s"),
    Line(52.0, "smollm2-135m-4-1ecb6e8487f0: merging the adapter into SmolLM2-135M-Instruct"),
    Line(91.3, "Serving smollm2-135m-4-1ecb6e8487f0, 4-bit AWQ, bfloat16, compiled, as mistral."),
    Line(91.4, "vLLM is loading, 0 s, its log is .run/vllm.log"),
    Line(191.3, "vLLM is loading: done in 100 s"),
    Line(194.3, "gateway is starting: done in 3 s"),
    Line(194.4, "Conviction is ready at http://127.0.0.1:41979 (documentation: http://127.0.0.1:41979/docs)."),
]


def test_a_first_start_has_every_phase() -> None:
    assert phases(FIRST) == {
        "installation of gateway": 27.0,
        "installation of vllm": 51.0,
        "weights": 40.0,
        "vLLM start": 100.0,
        "gateway start": 3.0,
        "until ready": 194.4,
    }


def test_a_later_start_installs_and_builds_nothing() -> None:
    assert list(phases(FIRST[7:])) == ["preparation", "vLLM start", "gateway start", "until ready"]
