"""Labelling stage: a teacher's answer for every row, with its model and cost."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import fingerprint
from app.contract.recommendation import Answer, FullAnswer, canonical, parse
from training.artifacts import MANIFEST, Artifacts, write_rows
from training.config.dataset import SPLITS
from training.config.run import Config
from training.labeling.journal import Answered
from training.labeling.prompts import Prompt, prompt_of, questions, read
from training.labeling.self_agreement import rule_based_self_agreement, self_agreement
from training.labeling.soft_labels import soft_label, stated_votes

Rows = list[dict[str, Any]]
Pairs = dict[str, list[tuple[dict[str, Any], Prompt]]]
"""Rows with their prompts, by split."""

SAMPLE = 250
"""Prompts sampled for self-agreement; 250 measure an agreement of 0.9 to about +-0.04."""


class MissingLabels(ValueError):
    """Too many pairs of a split have no label."""


def label(
    config: Config, artifacts: Artifacts, *, repeat: int = 1, sample: int = SAMPLE, estimate_only: bool = False
) -> None:
    """Write the data set's rows with their labels.

    Each row gets `answer` (canonical JSON), `teacher` (model id), `prompt_hash`, `tokens` and `nano_usd`, and `soft`
    (see `soft_labels`), as far as the teacher states its probabilities and votes.
    Rows with the same prompt share one label, which is paid for once. With `repeat` > 1, `sample` prompts are queried
    `repeat` times to measure self-agreement. `estimate_only` prints the estimate and stops. Raises `UnusableRows`,
    `MissingLabels`, and the teacher's errors.
    """
    artifacts.manifest("dataset")
    source = artifacts.folder / "dataset"
    pairs = {name: [(row, prompt_of(row)) for row in read(source / f"{name}.jsonl")] for name in SPLITS}
    if config.teacher.name == "rules":
        _by_rules(artifacts, pairs, repeat, estimate_only)
    else:
        _by_openai(config, artifacts, pairs, repeat, sample, estimate_only)


def _by_rules(artifacts: Artifacts, pairs: Pairs, repeat: int, estimate_only: bool) -> None:
    if estimate_only:
        print(f"label: {sum(map(len, pairs.values())):,} pairs by the rules, which cost nothing", file=sys.stderr)
        return
    split_rows = {
        name: [
            _labelled(row, prompt, _rule_label(prompt)) | {"soft": soft_label(prompt.metrics)}
            for row, prompt in pairs[name]
        ]
        for name in SPLITS
    }
    _write(
        artifacts,
        split_rows,
        {
            "teacher": rules.NAME,
            "model": rules.MODEL_ID,
            "tokens": {"prompt": 0, "completion": 0, "cached": 0},
            "cost": {"nano_usd": 0, "usd": "0"},
            "failures": {},
            **({"self_agreement": rule_based_self_agreement(repeat)} if repeat > 1 else {}),
        },
    )


def _by_openai(
    config: Config, artifacts: Artifacts, pairs: Pairs, repeat: int, sample: int, estimate_only: bool
) -> None:
    from training.labeling import paid

    teacher = config.teacher
    prompts = [prompt for name in SPLITS for _, prompt in pairs[name]]
    selected = questions(prompts, repeat, sample if repeat > 1 else 0)
    with paid.journal(artifacts.stage("label"), teacher.model or "") as book:
        paid.label(teacher, book, selected, len(prompts), estimate_only=estimate_only)
        if estimate_only:
            return
        answers = book.labels
        labels = {one.prompt.hash: answers[one.key] for one in selected if not one.repeat and one.key in answers}
        split_rows = {name: _with_labels(name, pairs, labels, teacher.max_failed) for name in SPLITS}
        measured = {"self_agreement": self_agreement(selected, answers, repeat)} if repeat > 1 else {}
        _write(artifacts, split_rows, {"teacher": teacher.name, **paid.account(teacher, book, selected), **measured})


def _rule_label(prompt: Prompt) -> Answered:
    answer = canonical(rules.answer(prompt.metrics, prompt.detail))
    return Answered(call="", key="", answer=answer, model=rules.MODEL_ID)


def _with_labels(name: str, pairs: Pairs, labels: Mapping[str, Answered], max_failed: float) -> Rows:
    rows = [_labelled(row, prompt, labels[prompt.hash]) for row, prompt in pairs[name] if prompt.hash in labels]
    missing = len(pairs[name]) - len(rows)
    if missing > max_failed * len(pairs[name]):
        raise MissingLabels(
            f"teacher.max_failed: {missing} of {len(pairs[name])} pairs of {name} have no label, above {max_failed:g}; "
            "raise teacher.tries to query them again"
        )
    return rows


def _labelled(row: dict[str, Any], prompt: Prompt, label: Answered) -> dict[str, Any]:
    assert label.answer is not None
    answer = parse(prompt.detail, label.answer)
    soft = _soft(answer, label)
    return {
        **row,
        **({"soft": soft} if soft else {}),
        "answer": label.answer,
        "action": answer.action,
        "conviction": answer.conviction,
        "teacher": label.model,
        "prompt_hash": prompt.hash,
        "tokens": {
            "prompt": label.prompt_tokens,
            "completion": label.completion_tokens,
            "cached": label.cached_tokens,
        },
        "nano_usd": label.nano_usd,
    }


def _soft(answer: Answer, label: Answered) -> dict[str, Any]:
    """Return the probabilities and votes that a model's answer states."""
    soft: dict[str, Any] = json.loads(label.soft) if label.soft else {}
    votes = stated_votes(answer.analysis) if isinstance(answer, FullAnswer) else {}
    return soft | ({"votes": votes} if votes else {})


def _write(artifacts: Artifacts, split_rows: Mapping[str, Rows], account: Mapping[str, Any]) -> None:
    """Write the splits, then the manifest; the previous manifest is removed first."""
    folder = artifacts.stage("label")
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, rows in split_rows.items():
        write_rows(folder / f"{name}.jsonl", rows)
    artifacts.complete(
        "label",
        {
            **account,
            "fingerprint": fingerprint(),
            "pairs": {name: len(rows) for name, rows in split_rows.items()},
            "balance": {name: _balance(rows) for name, rows in split_rows.items()},
        },
    )


def _balance(rows: Rows) -> dict[str, float]:
    counts = Counter(row["action"] for row in rows)
    return {action: round(count / len(rows), 4) for action, count in counts.most_common()}
