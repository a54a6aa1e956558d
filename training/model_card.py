"""The README of a published version."""

from __future__ import annotations

from typing import Any

from app.contract.manifest import Manifest


def model_card(manifest: Manifest, reports: dict[str, Any]) -> str:
    """Markdown: what the model is, what it was taught by whom, how it fares, what it is not for."""
    rows = "\n".join(
        f"| {name} | {r['agreement']['value']:.3f} | {r['agreement']['low']:.3f} to {r['agreement']['high']:.3f} "
        f"| {r['agreement']['n']} | {r['agreement']['tickers']} | {r['majority_baseline']['value']:.3f} "
        f"| {sum(r['failures'].values())} |"
        for name, r in reports.items()
    )
    data = manifest.data
    return f"""---
license: {manifest.base.license}
base_model: {manifest.base.name}
library_name: peft
---
# {manifest.model_id}

A LoRA adapter for {manifest.base.name}, run as MistralForCausalLM. It answers buy, sell or hold with a
conviction from 1 to 10 from option statistics and technical indicators of a US stock.

**Teacher: {manifest.teacher}**, the rule-based analyst of this project. No GPT-4 answer was used, and agreement
below is agreement with those rules, not with GPT-4 and not with what stocks did afterwards.

**Data:** {data["pairs"]} pairs of {data["tickers"]["train"]} tickers, real daily bars, option statistics
{data["options"]}; some metrics left out at random. Test tickers and dates were not trained on.

| evaluated | agreement | 95% interval, by ticker | pairs | tickers | always the commonest | failures |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Contract fingerprint `{manifest.fingerprint}`; a gateway with another contract refuses this model.
Not investment advice, and not fit to trade on.
"""
