"""Publication of the 4-bit weights."""

from __future__ import annotations

from pathlib import Path

from training.config.section import Fraction, Positive, Section, Share


class MinAgreement(Section):
    """Minimum agreement with the teacher, by detail."""

    brief: Share = 0.85
    full: Share = 0.85


class MinPairs(Section):
    """Minimum number of test pairs, by detail."""

    brief: Positive = 1000
    full: Positive = 500


class Publish(Section):
    """Publication criteria for the 4-bit weights on unseen tickers, and the target store."""

    store: Path = Path("model_store")
    min_pairs: MinPairs = MinPairs()
    min_agreement: MinAgreement = MinAgreement()
    min_conviction_within_one: Share = 0.7
    """Minimum share of answers whose conviction differs from the teacher's by at most 1."""
    max_ece: Share = 0.05
    """Maximum expected calibration error of the action's probability."""
    max_failures: Fraction = 0.0005
    """Maximum share of failed answers; the default allows none in 1,000."""
    max_quantisation_loss: Fraction = 0.01
    """Maximum agreement lost from the adapter to its 4-bit weights on the same pairs; 0.01 is one point."""
