"""What a labelled pair teaches beyond its next tokens: token weights, soft targets, and the score after each line.

The grammar forces most characters of an answer, which teach nothing about the decision. It does not force their tokens:
without any weight, a model spells `{"action":"` in other tokens than those of its training, and decides after a prefix
that it has not seen. A small weight costs nothing once they are learned.

The votes of a prompt's lines are the steps to the answer; a model that must state them while it reads learns the answer
from a fraction of the pairs (compare "Distilling step-by-step", arXiv 2305.02301).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.contract.analysis import LABELS
from app.contract.recommendation import Action, BriefAnswer, canonical
from training.finetune.tokens import Span, continuation

ANALYSIS_START = '"analysis":"'
ACTION_START = '"action":"'
CONVICTION_START = '"conviction":'
ANALYSIS_WEIGHT = 8.0
"""Weight of an analysis after its first token, relative to the action's.

The first token weighs as much as the action: in brief answers the action follows `":"`, and a model that has learned
that begins an analysis with it."""
FORCED_WEIGHT = 0.1
"""Weight of a token whose characters the grammar forces, relative to the action's."""
ANSWER_STEP_WEIGHT = 3.0
FIRST_STEP_WEIGHT = 0.3
"""Weights of the scores before action and conviction, and after the first line; after the last line it is 1."""


@dataclass(frozen=True)
class SoftTarget:
    """The distribution of one token of the answer, by token id; `index` is its place in the answer."""

    index: int
    probabilities: Mapping[int, float]


@dataclass(frozen=True)
class Step:
    """The votes so far at a token of prompt and answer: the line's own vote, if a line ends there, and their sum."""

    position: int
    vote: int | None
    score: int
    weight: float


def token_weights(answer: str, spans: Sequence[Span]) -> list[float]:
    """Return the weight of each token of an answer, and of the end of the turn.

    The weights of an answer sum to one, so that long and short answers count equally.
    """
    action, conviction = decisions(answer)
    free = Counter[int]()
    free[token_at(spans, action)] += 1
    free[token_at(spans, conviction)] += 1
    if answer[conviction] == "1":  # a 0 may follow
        free[token_at(spans, conviction + 1)] += 1
    weights = [float(free[index]) or FORCED_WEIGHT for index in range(len(spans))]
    if ANALYSIS_START in answer:
        begin = answer.index(ANALYSIS_START) + len(ANALYSIS_START)
        inside = [i for i, (start, _) in enumerate(spans) if begin <= start]
        weights[inside[0]] = 1.0
        for index in inside[1:]:
            weights[index] = ANALYSIS_WEIGHT / len(inside[1:])
    weights.append(FORCED_WEIGHT)
    total = sum(weights)
    return [weight / total for weight in weights]


def soft_targets(answer: str, spans: Sequence[Span], soft: Mapping[str, Any], tokenizer: Any) -> Iterator[SoftTarget]:
    """Yield the distributions of the action's and the conviction's first token, as far as `soft` has them."""
    stated = json.loads(answer)
    for name, place in zip(("action", "conviction"), decisions(answer), strict=True):
        if name not in soft:
            continue
        index, end = token_at(spans, place), place + len(str(stated[name]))
        probabilities = defaultdict[int, float](float)
        for value, probability in soft[name].items():
            other, _ = continuation(tokenizer, answer[:place] + value + answer[end:])
            probabilities[other[index]] += probability
        yield SoftTarget(index, probabilities)


def label_tokens(tokenizer: Any, *actions: Action) -> list[int]:
    """Return the first token of each action in a brief answer."""
    found = []
    for action in actions:
        answer = canonical(BriefAnswer(action=action, conviction=5))
        tokens, spans = continuation(tokenizer, answer)
        found.append(tokens[token_at(spans, decisions(answer)[0])])
    return found


def steps(prompt: str, content: str, spans: Sequence[Span], votes: Mapping[str, int]) -> list[Step]:
    """Return a step for each line of the prompt's content, at the line's last token.

    `prompt` is the content in the chat template, and `spans` are its tokens' characters.
    """
    found: list[Step] = []
    score, at = 0, prompt.index(content)
    lines = content.split("\n")
    named = [(line, next((label for label in LABELS if line.startswith(f"{label} ")), None)) for line in lines]
    count = sum(label is not None for _, label in named)
    for line, label in named:
        at += len(line)
        if label is not None:
            vote = votes.get(label, 0)
            score += vote
            weight = FIRST_STEP_WEIGHT + (1 - FIRST_STEP_WEIGHT) * (len(found) + 1) / count
            found.append(Step(token_at(spans, at - 1), vote, score, weight))
        at += 1
    return found


def answer_steps(prompt_tokens: int, answer: str, spans: Sequence[Span], votes: Mapping[str, int]) -> Iterator[Step]:
    """Yield the final score where the action and the conviction are predicted: one token before each."""
    for place in decisions(answer):
        yield Step(prompt_tokens + token_at(spans, place) - 1, None, sum(votes.values()), ANSWER_STEP_WEIGHT)


def token_at(spans: Sequence[Span], character: int) -> int:
    """Return the index of the token that contains a character."""
    return next(index for index, (start, end) in enumerate(spans) if start <= character < end)


def decisions(answer: str) -> tuple[int, int]:
    """Return where the action and the conviction begin; an analysis after them may contain the same words."""
    action, conviction = (answer.index(start) + len(start) for start in (ACTION_START, CONVICTION_START))
    return action, conviction
