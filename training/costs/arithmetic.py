"""Checks of the case study's arithmetic, each computed from its own figures."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

from app.pricing.prices import ListPrice, list_price, plain
from training.costs import case_study as study
from training.costs.case_study import Training

HOUR = Decimal(3600)
DAY = Decimal(24)


def rounded(amount: Decimal, like: Decimal) -> Decimal:
    """Round half up to as many decimals as `like` has."""
    return amount.quantize(like, ROUND_HALF_UP)


def clock(seconds: Decimal) -> str:
    """Format a duration in hours, minutes and seconds, without zero parts."""
    hours, rest = divmod(int(seconds.to_integral_value(ROUND_HALF_UP)), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def notes() -> Iterator[str]:
    """Yield a note for every published figure that is inconsistent or incomplete."""
    yield from (note for row in study.TRAINING if (note := training_note(row)))
    yield from _training_table()
    yield from _hosting_table()
    yield from _daily()
    yield from _per_call()
    yield from _per_token()


def training_note(row: Training) -> str | None:
    """Return a note if time x price is not the printed cost, else None."""
    if row.usd_per_hour is None or row.cost_usd is None:
        return None
    due = rounded(row.usd_per_hour * row.seconds / HOUR, row.cost_usd)
    if due == row.cost_usd:
        return None
    return (
        f"{row.model} on {row.devices} GPU(s): {clock(row.seconds)} at ${row.usd_per_hour} an hour is ${due}, "
        f"not ${row.cost_usd}."
    )


def _training_table() -> Iterator[str]:
    one, _, four, *_ = study.TRAINING
    unpriced = [row.vendor for row in study.TRAINING if row.cost_usd is None]
    yield f"{' and '.join(unpriced)}: neither price nor cost is given, so its row compares times only."
    assert one.cost_usd is not None and four.cost_usd is not None
    yield (
        f"{four.devices} GPUs are {one.seconds / four.seconds:.2f} times as fast as one, so the run costs "
        f"{100 * (four.cost_usd / one.cost_usd - 1):.0f}% more."
    )
    per_second = study.EPOCHS * study.TRAINED_ON * study.TOKENS_PER_CALL / one.seconds
    epochs = one.seconds * study.A100_TOKENS_PER_SECOND / (study.TRAINED_ON * study.TOKENS_PER_CALL)
    yield (
        f"{study.EPOCHS} epochs of {study.TRAINED_ON} pairs of {study.TOKENS_PER_CALL:,} tokens in "
        f"{clock(one.seconds)} would be {per_second:,.0f} tokens a second on one A100; LoRA on a 7B model does about "
        f"{study.A100_TOKENS_PER_SECOND:,} there, which makes {epochs:.0f} epochs."
    )
    own = study.PAIRS * study.TOKENS_PER_CALL / 1000 * study.GPT4_USD_PER_1K
    yield (
        f"Data set: {study.PAIRS:,} pairs of {study.TOKENS_PER_CALL:,} tokens at ${study.GPT4_USD_PER_1K} per 1,000 "
        f"are ${own:.0f}, not ${study.DATASET_USD}; half of that would be the batch price, or pairs of half the length."
    )
    dearest = max(row.cost_usd for row in study.TRAINING if row.cost_usd is not None)
    yield f"Fine-tuning: ${study.FINETUNING_USD} is above every run of the training table (at most ${dearest})."


def _hosting_table() -> Iterator[str]:
    yield (
        f"The hosting table's training cost of ${study.HOSTING_TRAINING_COST} is the hourly price of the A100, "
        f"not what the run cost (${study.TRAINING[0].cost_usd})."
    )
    yield (
        "The hosting table's row names an A100 at Runpod and an ml.g4dn.xlarge, which is AWS's machine with a T4 of "
        "16 GB: the price is the latter's, and which of them the time a token was measured on is not study."
    )
    used = study.CALLS_PER_HOUR * study.TOKENS_PER_CALL / HOUR
    yield (
        f"Tokens per second: the column holds {study.TOKENS_PER_SECOND:,}, the tokens of a call, in both rows, and no "
        f"rate. {study.CALLS_PER_HOUR} such calls an hour are {used:.1f} tokens a second."
    )


def _daily() -> Iterator[str]:
    day, share = study.USD_PER_HOUR * DAY, study.HOSTING_USD_PER_DAY / study.USD_PER_HOUR
    yield (
        f"Hosting: ${study.USD_PER_HOUR} an hour x 24 is ${rounded(day, Decimal('0.01'))} a day, not "
        f"${study.HOSTING_USD_PER_DAY}, which pays for {share:.1f} hours."
    )


def _per_call() -> Iterator[str]:
    ratio = study.GPT4_USD_PER_1K / (study.USD_PER_HOUR / study.CALLS_PER_HOUR)
    even = study.USD_PER_HOUR / study.GPT4_USD_PER_1K
    yield (
        f"${study.MISTRAL_USD_PER_1K} is the hour's price shared by {study.CALLS_PER_HOUR} calls, no price per call: "
        f"GPT-4 costs {ratio:.1f} times as much at that load, half of that at {study.CALLS_PER_HOUR / 2:.0f} calls, "
        f"and the same at {even:.1f} calls an hour."
    )
    yield (
        f"Cost per call and cost per 1,000 tokens are one figure only because a call is taken to be "
        f"{study.TOKENS_PER_CALL:,} tokens."
    )


def _per_token() -> Iterator[str]:
    price, older = list_price(study.ANSWERED_BY), list_price("gpt-4")
    yield (
        f"${study.GPT4_USD_PER_1K} per 1,000 tokens leaves out that input and output differ in price: "
        f"{study.ANSWERED_BY} cost {_in_and_out(price)}, so the figure is right for a call that is all answer and "
        f"three times too much for one that is nearly all prompt; the older gpt-4 cost {_in_and_out(older)}."
    )
    ms = study.MISTRAL.ms_per_token
    assert ms is not None
    one_at_a_time = HOUR * 1000 / (study.TOKENS_PER_CALL * ms)
    written = HOUR * 1000 / study.CALLS_PER_HOUR / ms
    yield (
        f"{ms} ms a token is {1000 / ms:.0f} tokens a second: {one_at_a_time:.0f} calls an hour of "
        f"{study.TOKENS_PER_CALL:,} written tokens, one at a time. {study.CALLS_PER_HOUR} calls an hour need answers "
        f"of at most {written:.0f} tokens, or calls served together."
    )


def _in_and_out(price: ListPrice) -> str:
    return f"${plain(price.input / 1000)} in and ${plain(price.output / 1000)} out"
