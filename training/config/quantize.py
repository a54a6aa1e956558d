"""Quantization of the merged weights by AWQ."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from training.config.section import Positive, Section
from training.layers import faults_of_kept


def _names_layers(keep: tuple[str, ...]) -> tuple[str, ...]:
    if problems := list(faults_of_kept(keep)):
        raise ValueError("; ".join(problems))
    return keep


class Quantize(Section):
    bits: Literal[4]
    group_size: Positive
    search: bool = True
    """Search for AWQ's scales and clips; false rounds the weights as they are, for which `qat` trains them."""
    keep: Annotated[tuple[str, ...], AfterValidator(_names_layers)] = ()
    """Layers kept in bf16, by parts of their names; fused layers (query, key, value) must be kept together."""
    samples: Positive = 8
    """Calibration samples for the search."""
    max_length: Positive = 1024
    """Maximum tokens per sample; a longer one is an error."""
