"""The report of a replay: agreement with the logged answers, cost, and the answers that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal

from app.cli.client import Json
from app.comparison.replay import Given, ReplayAgreement, Replayed, replay_agreement
from app.pricing.prices import plain

VERSION = ("backend", "model", "prompt_version")
"""What gave an answer. A model's name may stay when its prompt changes."""
METHOD = (
    "Agreement is the share of logged answers whose question has the same action again; of several answers of a model"
    " to one question and version of the prompt, the newest counts. Intervals are at 95%, by ticker; none for fewer"
    " than five tickers. A difference of convictions is the new one minus the logged one. The new answers were paid,"
    " and are logged as any others."
)


@dataclass
class Replay:
    """The logged answers by question, and the results so far."""

    questions: Sequence[Sequence[Json]]
    pairs: list[tuple[Json, Json]] = field(default_factory=list)
    """A logged answer and the new one."""
    problems: list[Json] = field(default_factory=list)
    answered: int = 0
    usd: Decimal = Decimal(0)

    @property
    def started(self) -> bool:
        return bool(self.answered or self.problems)

    def add(self, line: Json) -> None:
        """Add a line of a batch: an answer or a problem of the question at its index."""
        if "problem" in line:
            self.problems.append(line["problem"])
            return
        answer = line["answer"]
        self.answered += 1
        self.usd += Decimal(answer["cost"]["usd"])
        self.pairs += [(logged, answer) for logged in self.questions[line["index"]]]


def report(replay: Replay, backend: str) -> Json:
    """Return the report of the results so far."""
    new = [answer for _, answer in replay.pairs]
    pairs = sorted(replay.pairs, key=lambda pair: (pair[0]["created_at"], pair[0]["id"]), reverse=True)
    return {
        "backend": backend,
        "models": sorted({answer["model"] for answer in new}),
        "stand_in": any(answer["stand_in"] for answer in new),
        "questions": len(replay.questions),
        "answered": replay.answered,
        "failed": _failures(replay.problems),
        "usd": plain(replay.usd),
        "groups": [{**dict(zip(VERSION, of, strict=True)), **asdict(found)} for of, found in _groups(pairs)],
        "changed": [_changed(*pair) for pair in pairs if pair[0]["action"] != pair[1]["action"]],
        "method": METHOD,
    }


def _failures(problems: Iterable[Json]) -> list[Json]:
    """Return the number of problems by code, with the detail of the first."""
    found: dict[str, Json] = {}
    for problem in problems:
        first = found.setdefault(problem["code"], {"code": problem["code"], "count": 0, "detail": problem["detail"]})
        first["count"] += 1
    return list(found.values())


def version(answer: Json) -> tuple[str, ...]:
    """Return the values of VERSION of an answer."""
    return tuple(answer[name] for name in VERSION)


def _groups(pairs: Iterable[tuple[Json, Json]]) -> Iterable[tuple[tuple[str, ...], ReplayAgreement]]:
    """Yield the agreement by what gave the logged answers."""
    by_version: dict[tuple[str, ...], list[Replayed]] = {}
    for logged, new in pairs:
        replayed = Replayed(logged["ticker"], later=_given(new), logged=_given(logged))
        by_version.setdefault(version(logged), []).append(replayed)
    for of, replayed_by_version in sorted(by_version.items()):
        yield of, replay_agreement(replayed_by_version)


def _given(answer: Json) -> Given:
    return Given(answer["action"], answer["conviction"])


def _changed(logged: Json, new: Json) -> Json:
    """Return what changed in the answer to a question."""
    sides = {
        name: {key: answer[key] for key in ("id", "backend", "model", "action", "conviction", "probabilities")}
        for name, answer in (("logged", logged), ("new", new))
    }
    question = {name: logged[name] for name in ("created_at", "ticker", "as_of", "blind")}
    return {**question, "detail": "brief" if logged["analysis"] is None else "full", **sides}
