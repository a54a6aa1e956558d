"""Share of brief prompts' tokens that vLLM's prefix cache would hold, by the order of the prompt's parts.

  .envs/training/bin/python -m bench.prompt_order runs/smollm2-135m

Simulates a cache that evicts nothing, in blocks of 16 tokens as vLLM's, on the validation split's questions one after
another. Lines are ordered by their entropy on the training split's first questions.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import log2
from pathlib import Path

from transformers import AutoTokenizer

from app.contract.analysis import LABELS
from app.contract.features import Metrics
from app.contract.prompt import messages

BLOCK = 16
BASE = Path(".models/bases/SmolLM2-135M-Instruct")
QUESTIONS = 1000

Parts = tuple[str, list[str], str]
"""The instructions, the lines of readings, and the ticker's line."""


def prompts(path: Path) -> Iterator[Parts]:
    """Yield the parts of the first brief prompts of a file of labels."""
    rows = (row for row in map(json.loads, path.open()) if row["detail"] == "brief")
    for row in islice(rows, QUESTIONS):
        metrics = Metrics.model_validate_json(json.dumps(row["metrics"]))
        task, _, rest = messages(metrics, row["ticker"], "brief")[0]["content"].partition("\n\n")
        *lines, ticker = rest.split("\n")
        yield task, lines, ticker


def entropies(known: Iterable[Parts]) -> dict[str, float]:
    """Return the bits of each label's line: a line that seldom changes has few."""
    seen: dict[str, Counter[str]] = {}
    for _, lines, _ in known:
        for line in lines:
            seen.setdefault(_label(line), Counter())[line] += 1
    return {label: _bits(list(counts.values())) for label, counts in seen.items()}


def _label(line: str) -> str:
    return next((label for label in LABELS if line.startswith(f"{label} ")), "")


def _bits(counts: Sequence[int]) -> float:
    return -sum(count / sum(counts) * log2(count / sum(counts)) for count in counts)


def hit_rate(texts: Iterable[str], encode: Callable[[str], list[int]]) -> float:
    """Return the share of tokens in blocks whose prefix an earlier prompt had."""
    known: set[tuple[int, ...]] = set()
    hits = total = 0
    for text in texts:
        ids = encode(text)
        prefixes = [tuple(ids[:end]) for end in range(BLOCK, len(ids), BLOCK)]
        hits += BLOCK * next((n for n, prefix in enumerate(prefixes) if prefix not in known), len(prefixes))
        total += len(ids)
        known.update(prefixes)
    return hits / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(BASE)

    def encode(text: str) -> list[int]:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = tokenizer.encode(asked, add_special_tokens=False)
        return ids

    bits = entropies(prompts(given.run / "label/train.jsonl"))
    questions = list(prompts(given.run / "label/validation.jsonl"))

    def by_entropy(lines: list[str]) -> list[str]:
        return sorted(lines, key=lambda line: bits.get(_label(line), 0.0))

    orders: dict[str, Callable[[Parts], list[str]]] = {
        "ticker first": lambda parts: [parts[2], *parts[1]],
        "ticker last (the contract's)": lambda parts: [*parts[1], parts[2]],
        "ticker last, lines by entropy": lambda parts: [*by_entropy(parts[1]), parts[2]],
        "no ticker (blind)": lambda parts: parts[1],
        "no ticker, lines by entropy": lambda parts: by_entropy(parts[1]),
    }
    for name, order in orders.items():
        texts = (parts[0] + "\n\n" + "\n".join(order(parts)) for parts in questions)
        print(f"{name:<32} {hit_rate(texts, encode):.3f}")


if __name__ == "__main__":
    main()
