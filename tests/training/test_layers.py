from __future__ import annotations

import pytest

from training.layers import faults_of_kept


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("q_proj", "k_proj", "v_proj"),
        ("self_attn",),
        ("down_proj",),
        ("layers.3.",),
        ("w1", "w3"),
        ("gate_proj", "up_proj"),
    ],
)
def test_parts_of_layers_names_are_accepted(parts: tuple[str, ...]) -> None:
    assert list(faults_of_kept(parts)) == []


def test_unknown_parts_and_divided_layers_are_all_named() -> None:
    assert list(faults_of_kept(("q_proj", "qproj", "layers.3.mlp.up_proj"))) == [
        "'qproj' is part of no layer's name",
        "q_proj without k_proj, v_proj, which vLLM computes as one",
        "up_proj without gate_proj, which vLLM computes as one",
    ]
