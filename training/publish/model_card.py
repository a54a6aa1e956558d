"""The README of a published version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.contract.manifest import Check, Manifest

RULES = "rule-based-analyst"
STAND_IN = "stand-in/"

PAGE = """---
license: {license}
base_model: {base}
library_name: peft
---
# {model_id}

A LoRA adapter for {name}. It answers buy, sell or hold with a conviction from 1 to 10 from option
statistics and technical indicators of a US stock.

{teacher}

## Data and training

{data}

{training}

## Evaluation

Agreement with the teacher on tickers and dates that were not trained on; a failed answer
counts as wrong. The full report, if there is one, is in `report/`.

| evaluated | agreement | 95% interval, by ticker | pairs | tickers | majority class | failures |
| --- | --- | --- | --- | --- | --- | --- |
{evaluation}

Conviction is the model's answer on the teacher's scale from 1 to 10, compared with the teacher's own.
ECE is the expected calibration error of the probability of the answered action.

| evaluated | conviction's mean error | within 1 | Spearman | quadratic kappa | ECE |
| --- | --- | --- | --- | --- | --- |
{conviction}

{calibration}

{gate}

## Costs

{costs}

Contract fingerprint `{fingerprint}`; a gateway with another contract refuses this model.
Not investment advice, and not suitable for trading.
"""


def model_card(manifest: Manifest, reports: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return the model card as Markdown: description, teacher, training, evaluation, costs, limits.

    `history` is the trainer's log: losses are mean natural-log cross-entropy over an answer's tokens.
    """
    base = manifest.base.source.get("repo", manifest.base.name)
    return PAGE.format(
        license=manifest.base.license,
        base=base,
        model_id=manifest.model_id,
        name=manifest.base.name,
        teacher=teacher_section(manifest.teacher),
        data=_data(manifest),
        training=_training(manifest, history),
        evaluation=_evaluation(reports),
        conviction=_conviction(reports),
        calibration=_calibration(manifest),
        gate=_gate(manifest.gate),
        costs=_costs(manifest),
        fingerprint=manifest.fingerprint,
    )


def teacher_section(teacher: str) -> str:
    """Return the paragraph about the teacher; `teacher` is the model id of the labels."""
    if teacher.startswith(RULES):
        return f"""**Teacher: {teacher}**, the rule-based analyst of this project. No GPT-4 answer was used, and
agreement below is agreement with those rules, not with GPT-4 and not with what stocks did afterwards."""
    if teacher.startswith(STAND_IN):
        return f"""**Teacher: {teacher}**, a stand-in for a model's server, which gives the rule-based analyst's
answers. No answer of the model it replaces was used, and agreement below is agreement with those rules, not with what
stocks did afterwards."""
    return f"""**Teacher: {teacher}**, queried through OpenAI's API. Agreement below is agreement with that model's
answers, not with what stocks did afterwards."""


def _data(manifest: Manifest) -> str:
    data = manifest.data
    options = {"simulated": "option statistics simulated", "none": "no option statistics"}
    shown = options.get(data["options"], "option statistics as the market data has them")
    return (
        f"{data['pairs']} pairs of {data['tickers']['train']} tickers, {data['tokens']:,} tokens: daily bars,\n"
        f"{shown}; some metrics left out at random. Tested on {data['tickers']['test']} other tickers."
    )


def _training(manifest: Manifest, history: Sequence[Mapping[str, Any]]) -> str:
    facts, seconds = manifest.data["training"], manifest.data["train_seconds"]
    where = f" on {facts['devices']} device(s)" if "devices" in facts else ""
    dtype = f" in {facts['dtype']}" if "dtype" in facts else ""
    lines = [f"LoRA, {seconds:,.0f} s{where}{dtype}."]
    if facts.get("continued_from"):
        lines.append(f"Training continued from {facts['continued_from']}.")
    if qat := facts.get("qat"):
        lines.append(f"Of that {qat['seconds']:,.0f} s quantisation-aware, on {qat['pairs']} of the pairs once more.")
    evaluated = [entry for entry in history if "eval_loss" in entry]
    if evaluated:
        last = evaluated[-1]
        agreed = f", agreement {last['eval_agreement']:.3f}" if "eval_agreement" in last else ""
        lines.append(f"Validation loss after step {last['step']}: {last['eval_loss']:.4f}{agreed}.")
    return "\n".join(lines)


def _evaluation(reports: Mapping[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {r['agreement']['value']:.3f} | {r['agreement']['low']:.3f} to {r['agreement']['high']:.3f} "
        f"| {r['agreement']['n']} | {r['agreement']['tickers']} | {r['majority_baseline']['value']:.3f} "
        f"| {sum(r['failures'].values())} |"
        for name, r in reports.items()
    )


def _conviction(reports: Mapping[str, Any]) -> str:
    def row(name: str, report: Mapping[str, Any]) -> str:
        found, stated = report["conviction"], report["calibration"]["probabilities"]
        figures = [found.get(key) for key in ("mean_absolute_error", "within_one", "spearman", "quadratic_kappa")]
        figures.append(stated and stated["ece"])
        shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
        return f"| {name} | {' | '.join(shown)} |"

    return "\n".join(row(name, report) for name, report in reports.items())


def _calibration(manifest: Manifest) -> str:
    if not manifest.calibration:
        return "Probabilities are the model's own, without calibration."
    lines = [
        f"- {detail}: temperature {found.temperature:.3f}, "
        + ", ".join(f"{action} {bias:+.3f}" for action, bias in found.bias.items())
        for detail, found in manifest.calibration.items()
    ]
    return "\n".join(["Probabilities of the 4-bit weights are calibrated on validation pairs:\n", *lines])


def _gate(checks: Sequence[Check]) -> str:
    rows = [f"| {c.name} | {'held' if c.held else '**failed, overridden**'} | {c.found} |" for c in checks]
    return "\n".join(["| checked before publishing | | found |", "| --- | --- | --- |", *rows])


def _costs(manifest: Manifest) -> str:
    labels, training, capacity = manifest.data["labels"], manifest.data["training"], manifest.capacity
    lines = []
    if "cost" in labels:
        lines.append(f"- labels: {Decimal(labels['cost']['nano_usd']).scaleb(-9):.2f} USD")
    if "cost_usd" in training:
        hourly = f", {training['usd_per_hour']} USD an hour a device" if "usd_per_hour" in training else ""
        lines.append(f"- training: {Decimal(training['cost_usd']):.2f} USD{hourly}")
    if capacity:
        per_1k = capacity.usd_per_hour * 1000 / capacity.tokens_per_hour
        lines.append(
            f"- serving: {capacity.usd_per_hour} USD an hour on {capacity.machine} ({capacity.price_source}); "
            f"at {capacity.tokens_per_hour:,} tokens an hour, {capacity.concurrency} concurrent requests, "
            f"{per_1k:.6f} USD per 1,000 tokens"
        )
    return "\n".join(lines) or "Not recorded."
