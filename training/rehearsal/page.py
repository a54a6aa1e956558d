"""The page of a rehearsal: time and memory of each step, with all layers by a line through two depths."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from app.contract.machine import Machine
from training.config.finetune import Finetune
from training.config.run import Config
from training.finetune.memory import GIB, estimate, shape
from training.markdown import bullets, table
from training.rehearsal import line
from training.rehearsal.depth import Depth
from training.rehearsal.line import Points

FLAT = ("dataset", "label")
"""Steps that do not read the weights: two depths differ by chance."""
A_STEP, ON_GPU = "finetune: an optimizer step", "finetune: on the GPU"
ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
SHAPES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_local_experts")
UNKNOWN = "-"
READING = (
    "A cell has the seconds of a step and the peak memory of its largest process, with Python's libraries. The figures "
    "for all layers are on the line through two depths, which separates the layers from what does not depend on their "
    "number: embeddings, head, libraries and the start of a program. How many layers fit is of the memory alone."
)
MEMORY = (
    "GiB of `finetune`, as training.finetune.memory estimates them for a GPU, with a tenth more, and measured. On a "
    "CPU attention keeps its matrices of scores, which are not in the estimate."
)


def page(config: Config, depths: Sequence[Depth], machine: Machine, notes: Sequence[str]) -> str:
    """Return the page as Markdown, with what the depths have so far."""
    family, profile = depths[0].family, depths[0].run.plan.profile
    layers = sorted({*(depth.layers for depth in depths), family.layers})
    heads = [f"{number} layer{'s' if number > 1 else ''}" for number in layers]
    shapes = ", ".join(f"{name} {family.config[name]}" for name in SHAPES if name in family.config)
    parts = [
        f"# Rehearsal of {config.name}",
        f"Random weights with the shapes of {config.base.name}: {shapes}, vocab_size {family.config['vocab_size']}.",
        f"Machine: {machine}; {profile}.",
        table(("step", *heads, "layers that fit"), _steps(depths, machine, layers)),
        READING,
        MEMORY,
        table(("", *heads, "a layer"), _memory(config, depths, layers)),
        "Differences from the run:",
        bullets([*notes, *filter(None, [family.differs])]),
        *([bullets(outcome)] if (outcome := list(_outcome(depths))) else []),
    ]
    return "\n\n".join(parts) + "\n"


def _steps(depths: Sequence[Depth], machine: Machine, layers: Sequence[int]) -> Iterator[list[str]]:
    """Yield a row for each step: a cell for each number of layers, and how many layers fit."""
    figures = {depth.layers: depth.figures | _of_training(depth) for depth in depths}
    gpu_gib = machine.gpus[0].memory_gib if machine.gpus else 0.0
    for name in [*depths[0].steps, A_STEP, *([ON_GPU] if machine.gpus else [])]:
        seconds, memory = (_points(figures, name, key) for key in ("seconds", "peak_gib"))
        cells = [
            _failed(depths, name, number)
            or _cell(*(_at(name, points, number, figures) for points in (seconds, memory)))
            for number in layers
        ]
        fit = line.fitting(memory, gpu_gib if name == ON_GPU else machine.memory_gib, layers[-1])
        yield [name, *cells, UNKNOWN if fit is None or name in FLAT else str(fit)]


def _of_training(depth: Depth) -> dict[str, Any]:
    """Return what `finetune` itself measured: an optimizer step, and the peak on the GPU."""
    if not (tuned := depth.made("finetune")):
        return {}
    last = tuned["history"][-1]
    return {A_STEP: {"seconds": tuned["seconds"] / last["step"]}, ON_GPU: {"peak_gib": tuned["gpu_peak_gib"]}}


def _points(figures: dict[int, dict[str, Any]], name: str, key: str) -> Points:
    found = ((number, own.get(name, {}).get(key)) for number, own in figures.items())
    return [(number, value) for number, value in found if value is not None]


def _at(name: str, points: Points, layers: int, measured: Container[int]) -> float | None:
    """Return what was measured with so many layers, or, where no depth has them, what follows from the depths."""
    if layers in measured:
        return dict(points).get(layers)
    if name in FLAT:
        return points[-1][1] if points else None
    return line.at(points, layers)


def _failed(depths: Sequence[Depth], name: str, layers: int) -> str:
    reasons = [depth.failures.get(name, "") for depth in depths if depth.layers == layers]
    return "" if not any(reasons) else "not tried" if reasons[0].startswith("not tried") else "failed"


def _cell(seconds: float | None, gib: float | None) -> str:
    parts = [] if seconds is None else [f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"]
    parts += [] if gib is None else [f"{gib:.1f} GiB"]
    return ", ".join(parts) or UNKNOWN


def _memory(config: Config, depths: Sequence[Depth], layers: Sequence[int]) -> Iterator[list[str]]:
    """Yield rows of GiB: estimated as rehearsed, measured, and estimated as configured."""
    tuned = {depth.layers: found for depth in depths if (found := depth.made("finetune"))}
    run, family = depths[0].run, depths[0].family
    dtype = next((found["dtype"] for found in tuned.values()), run.plan.profile.dtype)

    def estimated(settings: Finetune, itemsize: int) -> Callable[[int], float]:
        def gib(number: int) -> float:
            return estimate(shape({**family.config, "num_hidden_layers": number}), settings, itemsize).total / GIB

        return gib

    def row(name: str, figure: Callable[[int], float | None], rise: float | None) -> list[str]:
        return [name, *(UNKNOWN if (f := figure(n)) is None else f"{f:.1f}" for n in layers), _gib(rise)]

    for name, settings, itemsize in (
        (f"estimated as rehearsed, in {dtype}", run.config.finetune, ITEMSIZE[dtype]),
        ("estimated as configured, in 16 bits", config.finetune, 2),
    ):
        gib = estimated(settings, itemsize)
        yield row(name, gib, gib(2) - gib(1))
    on_gpu = {number: found["gpu_peak_gib"] for number, found in tuned.items() if found["gpu_peak_gib"]}
    of_process = {depth.layers: depth.figures["finetune"]["peak_gib"] for depth in depths if depth.layers in tuned}
    points = sorted((on_gpu or of_process).items())
    measured = "measured on the GPU" if on_gpu else "measured, of the process"
    yield row(measured, lambda number: line.at(points, number), line.slope(points))


def _gib(figure: float | None) -> str:
    return UNKNOWN if figure is None else f"{figure:.2f}"


def _outcome(depths: Sequence[Depth]) -> Iterator[str]:
    for depth in depths:
        if base := depth.made("base"):
            yield f"layers {depth.layers}: {base['weights']:,} weights, {2 * base['weights'] / GIB:.1f} GiB in 16 bits"
        if got := depth.made("answer"):
            yield (
                f"layers {depth.layers}: vLLM loaded {got['served']} in {got['loading_seconds']:.0f} s; the gateway's "
                f"answer under the grammar: {got['action']}, conviction {got['conviction']}, {got['tokens']} tokens in "
                f"{got['seconds']} s"
            )
        yield from (f"layers {depth.layers}: {name}: {reason}" for name, reason in depth.failures.items())
