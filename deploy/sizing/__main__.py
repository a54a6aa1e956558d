"""A table of Mistral 7B AWQ's throughput on GPUs: `python -m deploy.sizing`."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.sizing.floor import Figures, Published, figures

HEADINGS = (
    "GPU", "ms a token, floor", "KV cache, tokens", "brief an hour, ceiling", "full an hour, ceiling",
    "share to plan with", "brief an hour, to plan with", "full an hour, to plan with",
)  # fmt: skip
UNPUBLISHED = "not published"
MEASURED = ("GPU", "engine", "tokens in + out, concurrent", "tokens a second", "of the ceiling")


def main() -> None:
    known = figures()
    print(
        "\n".join(
            [*table(HEADINGS, _cards(known)), "", *table(MEASURED, (_row(known, each) for each in known.published))]
        )
    )


def table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    for row in (headings, ("---",) * len(headings), *rows):
        yield f"| {' | '.join(row)} |"


def _cards(known: Figures) -> Iterator[tuple[str, ...]]:
    for name, gpu in known.gpus.items():
        share = known.to_plan_with(name)
        ceilings = [known.an_hour(gpu, request) for request in (known.requests.brief, known.requests.full)]
        planned = [UNPUBLISHED] * 3
        if share is not None:
            planned = [f"{share:.2f}", *(_rounded(share * ceiling) for ceiling in ceilings)]
        yield name, f"{known.ms_a_token(gpu):.3g}", _rounded(known.kv_room(gpu)), *map(_rounded, ceilings), *planned


def _row(known: Figures, published: Published) -> tuple[str, ...]:
    load = published.what
    asked = f"{load.prompt} + {load.answer}, {load.concurrency}"
    return (
        *(published.gpu, published.engine, asked),
        *(f"{published.tokens_per_second:,.5g}", f"{known.share(published):.2f}"),
    )


def _rounded(number: float) -> str:
    """Format a number with two digits, the precision of the inputs."""
    return f"{float(f'{number:.2g}'):,.0f}"


if __name__ == "__main__":
    main()
