"""Rows as an evaluation leaves them, for tests."""

from __future__ import annotations

from app.contract.recommendation import Action
from training.evaluation.rows import Row


def examined(
    truth: Action,
    predicted: Action | None,
    *,
    ticker: str = "A",
    convictions: tuple[int, int] = (5, 5),
    probabilities: tuple[float, float, float] | None = None,
    missing: int = 0,
    rsi: float = 50.0,
) -> Row:
    """One row; `convictions` are the teacher's and the model's, `probabilities` those of buy, sell and hold."""
    return Row(
        ticker=ticker,
        as_of=None,
        detail="brief",
        model="a-model",
        metrics={"RSI_14": rsi},
        missing=missing,
        truth=truth,
        truth_conviction=convictions[0],
        predicted=predicted,
        predicted_conviction=convictions[1] if predicted else None,
        probabilities=None if probabilities is None else dict(zip(("buy", "sell", "hold"), probabilities, strict=True)),
        failure=None if predicted else "length",
        prompt_tokens=100,
        completion_tokens=10,
        seconds=0.5,
        at=1.0,
    )
