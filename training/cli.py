"""`python -m training STAGE`: one stage, or `run` for all."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import get_args

from app.contract import hardware
from app.contract.manifest import UnusableModel
from training.artifacts import Artifacts
from training.changes import begin, require_unchanged
from training.config import SPLITS, Config, ConfigError, Quantize, load

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.toml"
Command = Callable[[argparse.Namespace], None]


def main(argv: Sequence[str] | None = None) -> None:
    """Run a stage; user errors are printed in one line with exit code 2."""
    arguments = _parser().parse_args(argv)
    start = time.monotonic()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars would fill a log
    try:
        arguments.command(arguments)
        peak, taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, time.monotonic() - start
        if taken >= 1:
            print(f"{taken:.0f} s, {peak:.1f} GiB peak memory", file=sys.stderr)
    except (ConfigError, UnusableModel, OSError, MemoryError, ValueError) as error:
        print(f"training: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        print(f"training: a stage failed with exit code {error.returncode}; complete stages are kept", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train the model, one stage at a time.")
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    for name, (command, text, add_options) in STAGES.items():
        sub = stages.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if name not in WITHOUT_RUN:
            sub.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
            sub.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
        add_options(sub)
    return parser


def _quantize_options(parser: argparse.ArgumentParser) -> None:
    _folders(parser, "--merged", "--out")
    parser.add_argument("--calibration", type=Path, help="token ids of samples; required for a search")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON of the config's [quantize]")


def _dequantize_options(parser: argparse.ArgumentParser) -> None:
    _folders(parser, "--quantized", "--out")


def _folders(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        parser.add_argument(name, type=Path, required=True)


def _calibrate_options(parser: argparse.ArgumentParser) -> None:
    text = "evaluation of the served weights on the validation split; repeatable, by default calibrate/*-awq.json"
    parser.add_argument("--evaluation", type=Path, action="append", default=[], metavar="FILE", help=text)


def _curve_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(config=DEFAULT_CONFIG.with_name("learning-curve.toml"))
    _market(parser)
    _models(parser)
    sizes = "training pairs of a point; repeatable (250, 1000, 4000, 16000)"
    parser.add_argument("--pairs", type=_at_least(1), action="append", help=sizes)
    parser.add_argument("--test-pairs", type=_at_least(1), help="brief test pairs; by default all")
    parser.add_argument("--vllm-python", type=Path, default=Path(".envs/vllm/bin/python"))


def _market(parser: argparse.ArgumentParser) -> None:
    market = Path(os.environ.get("CONVICTION_MARKET_DIR", "../shared/market"))
    text = "folder of ohlcv*.parquet files; by default CONVICTION_MARKET_DIR"
    parser.add_argument("--market", type=Path, default=market, help=text)


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="folder; by default the run's report/")
    _hourly(parser)


def _push_options(parser: argparse.ArgumentParser) -> None:
    _store(parser)
    parser.add_argument("--version", metavar="NAME/VERSION", help="by default the store's current one")
    parser.add_argument("--to", required=True, metavar="ORG/REPO")
    parser.add_argument("--weights", type=Path, help="folder of 4-bit weights to push with it")


def _build_options(parser: argparse.ArgumentParser) -> None:
    _models(parser)
    _store(parser)
    parser.add_argument("--quantize-python", type=Path, default=Path(".envs/quantise/bin/python"))
    forms = get_args(hardware.WeightFormat)
    text = "form of the weights; by default the one that this machine serves"
    parser.add_argument("--weights", choices=forms, help=text)


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, default=Path("model_store"))


def _run_options(parser: argparse.ArgumentParser) -> None:
    _market(parser)
    for name, environment in (("training", "training"), ("quantize", "quantise"), ("vllm", "vllm")):
        parser.add_argument(f"--{name}-python", type=Path, default=Path(f".envs/{environment}/bin/python"))
    _models(parser)
    parser.add_argument("--processes", type=_at_least(1), default=1, help="fine-tuning processes, one per GPU")
    _target_options(parser, "1")


def _target_options(parser: argparse.ArgumentParser, version: str | None) -> None:
    parser.add_argument("--store", type=Path, help="model store; by default the config's")
    parser.add_argument("--version", default=version, required=version is None)
    _hourly(parser)
    parser.add_argument(
        "--override", action="append", default=[], metavar="NAME",
        help="accept a failed check, such as min_agreement.full; repeatable, recorded in manifest and card",
    )  # fmt: skip


def _hourly(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--usd-per-hour", type=Decimal, default=Decimal("0.10"),
        help="hourly price of the serving machine (0.10, an assumption)",
    )  # fmt: skip


def _label_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--estimate", action="store_true", help="only print the estimate")
    repeat, sample = "requests per sampled prompt, to measure the teacher's self-agreement", "prompts in that sample"
    parser.add_argument("--repeat", type=_at_least(1), default=1, metavar="N", help=repeat)
    parser.add_argument("--sample", type=_at_least(1), default=250, metavar="N", help=f"{sample} (250)")


def _models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=Path(".models"), help="folder of the weights")


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="a Conviction gateway or an OpenAI-style server")
    parser.add_argument("--backend", help="the gateway's backend, or the server's model")
    parser.add_argument("--key", help="API key, if one is needed")
    parser.add_argument("--detail", choices=("brief", "full"), default="brief")
    parser.add_argument("--form", help="form of the served weights, such as awq; recorded")
    parser.add_argument("--dtype", choices=get_args(hardware.Dtype), help="dtype of the served weights; recorded")
    parser.add_argument("--market", type=Path, help="folder of ohlcv*.parquet; without it, a split of the run")
    split = "split of the run (test); choose settings by validation, test is for the version to be published"
    parser.add_argument("--split", choices=SPLITS, help=split)
    parser.add_argument("--options", choices=("provider", "simulated", "none"), default="simulated")
    parser.add_argument("--teacher", choices=("rules",), default="rules", help="teacher for a market's pairs")
    parser.add_argument(
        "--pairs", type=_at_least(1), help="maximum number of pairs; by default 1000 of a market, all of a run"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=_at_least(1), help="concurrent requests; by default the run's, or 8")
    parser.add_argument(
        "--consistency", type=_at_least(0), metavar="N", help="pairs asked again with irrelevant changes"
    )
    parser.add_argument("--calibrated", action="store_true", help="apply the calibration of the run to probabilities")
    parser.add_argument("--resume", action="store_true", help="resume an interrupted evaluation of OUT")
    _hourly(parser)
    parser.add_argument("--out", type=Path, required=True)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return int(text)

    return number


def _publish_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the served quantized model, for the golden answers")
    _target_options(parser, None)
    parser.add_argument("--push-to", metavar="ORG/REPO", help="Hugging Face repository; needs HF_TOKEN")
    parser.add_argument("--push-weights", type=Path, metavar="DIR", help="4-bit weights to push with it")


def _costs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, action="append", help="configurations of the runs to show; by default all shipped ones"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    _store(parser)
    parser.add_argument(
        "--usd-per-hour", type=Decimal, help="hourly price of the serving machine; by default the store's"
    )
    parser.add_argument("--out", type=Path, help="folder for costs.md and the break-even chart")


def _responses_options(parser: argparse.ArgumentParser) -> None:
    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")

    several("--backend", "NAME=URL[#MODEL]", "a gateway or a server to ask")
    several("--raw", "NAME=URL[#MODEL]", "a server to ask for free text, without a schema")
    several("--key", "NAME=VARIABLE", "the environment variable that holds a backend's API key")
    several("--parameters", "NAME=SIZE", "number of parameters of a backend's model, for display")
    parser.add_argument("--out", type=Path, help="Markdown file; by default standard output")


def _run_of(arguments: argparse.Namespace) -> tuple[Config, Artifacts]:
    config = load(arguments.config)
    return config, Artifacts(arguments.runs / config.name)


def _begun(arguments: argparse.Namespace, stage: str) -> tuple[Config, Artifacts]:
    """Return the run after recording the settings of a stage; see `begin`."""
    config, artifacts = _run_of(arguments)
    begin(config, artifacts, stage)
    return config, artifacts


def _dataset(arguments: argparse.Namespace) -> None:
    from training.dataset.stage import build

    build(*_begun(arguments, "dataset"), arguments.market)


def _label(arguments: argparse.Namespace) -> None:
    from training.labeling.stage import label

    run = _run_of(arguments) if arguments.estimate else _begun(arguments, "label")
    label(*run, repeat=arguments.repeat, sample=arguments.sample, estimate_only=arguments.estimate)


def _finetune(arguments: argparse.Namespace) -> None:
    from training.dataset.lineage import overlaps
    from training.finetune.stage import finetune

    config, artifacts = _begun(arguments, "finetune")
    if problems := list(overlaps(config)):
        raise ConfigError("; ".join(problems))
    finetune(config, artifacts, _base(arguments))


def _qat(arguments: argparse.Namespace) -> None:
    from training.finetune.stage import qat

    qat(*_begun(arguments, "qat"), _base(arguments))


def _base(arguments: argparse.Namespace) -> Path:
    """Return the folder of the run's prepared base."""
    from training.finetune.base import prepare

    base = load(arguments.config).base
    return prepare(base, arguments.models / "bases" / base.name)


def _merge(arguments: argparse.Namespace) -> None:
    from app.contract.manifest import sha256, verify
    from training.finetune.merge import merge

    config, artifacts = _begun(arguments, "merge")
    tuned, folder = artifacts.manifest("qat" if config.qat else "finetune"), artifacts.stage("merge")
    adapter = artifacts.adapter
    verify(adapter, {"adapter_model.safetensors": tuned["adapter_sha256"]})
    merge(_base(arguments), adapter, folder / "weights")
    if config.quantize.search:
        from training.finetune.calibration import calibrate

        calibrate(folder / "weights", config.quantize, folder / "calibration.json")
    weights = {path.name: sha256(path) for path in sorted((folder / "weights").glob("*.safetensors"))}
    artifacts.complete("merge", {"base": config.base.name, "weights": weights})


def _quantize(arguments: argparse.Namespace) -> None:
    settings = Quantize.model_validate(arguments.settings)
    if not settings.search:
        from training.quantize.awq import quantize_folder

        return quantize_folder(arguments.merged, settings, arguments.out)
    from training.quantize.autoawq import quantize

    if arguments.calibration is None:
        raise ValueError("a search for scales needs --calibration")
    return quantize(arguments.merged, json.loads(arguments.calibration.read_text())["ids"], settings, arguments.out)


def _dequantize(arguments: argparse.Namespace) -> None:
    from training.quantize.awq import dequantize_folder

    dequantize_folder(arguments.quantized, arguments.out)


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.artifacts import write_bytes, write_json
    from training.config import Evaluate
    from training.evaluation import rows
    from training.evaluation.calibration import calibration_of
    from training.evaluation.frontier import API_MODEL
    from training.evaluation.pairs import pairs_of_market, pairs_of_run
    from training.evaluation.stage import EvaluationOptions, evaluate
    from training.report import plots

    if arguments.market and arguments.split:
        raise ValueError("--split is of a run: it cannot be combined with --market")
    if arguments.market:
        count, settings = arguments.pairs or 1000, Evaluate(consistency=0)
        pairs = pairs_of_market(arguments.market, arguments.options, arguments.detail, count, arguments.seed)
        source = {"market": arguments.market.name, "options": arguments.options, "seed": arguments.seed}
    else:
        config, artifacts = _run_of(arguments)
        settings, split = config.evaluate, arguments.split or "test"
        pairs = pairs_of_run(artifacts, arguments.detail, split)[: arguments.pairs]
        source = {"run": config.name, "split": split, "options": config.dataset.options}
    options = EvaluationOptions(
        arguments.detail,
        settings.concurrency if arguments.concurrency is None else arguments.concurrency,
        settings.consistency if arguments.consistency is None else arguments.consistency,
        arguments.form,
        arguments.dtype,
        calibration_of(_run_of(arguments)[1], arguments.detail) if arguments.calibrated else None,
    )
    beside = rows.rows_path(arguments.out)
    unfinished = beside.with_suffix(".unfinished")
    if not arguments.resume:
        unfinished.unlink(missing_ok=True)
    found = asyncio.run(evaluate(arguments.url, arguments.backend, arguments.key, pairs, options, unfinished))
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    rows.write(beside, found.rows)
    cascade = found.cascade(arguments.usd_per_hour)
    write_json(arguments.out, {**found.document, "cascade": cascade, "source": source, "machine": machine})
    if cascade is not None:
        drawn = plots.frontier(cascade["points"], cascade["api_alone"], found.document["model"], API_MODEL)
        write_bytes(arguments.out.with_suffix(".cascade.png"), drawn)
    unfinished.unlink()
    print(json.dumps({"agreement": found.document["agreement"], "failures": found.document["failures"]}))


def _calibrate(arguments: argparse.Namespace) -> None:
    from training.evaluation.calibration import calibrate

    print(json.dumps(calibrate(_run_of(arguments)[1], arguments.evaluation), indent=2))


def _curve(arguments: argparse.Namespace) -> None:
    from training.dataset.stage import build
    from training.evaluation.baselines import CURVE_SIZES
    from training.labeling.stage import label
    from training.learning_curve import learning_curve

    config, artifacts = _run_of(arguments)
    sizes = sorted(set(arguments.pairs or CURVE_SIZES))
    if sizes[-1] > (there := config.dataset.train.brief):
        raise ValueError(f"--pairs {sizes[-1]}, and dataset.train of {arguments.config} has {there} brief pairs")
    require_unchanged(config, artifacts)
    if not artifacts.done("dataset"):
        build(*_begun(arguments, "dataset"), arguments.market)
    if not artifacts.done("label"):
        label(*_begun(arguments, "label"))
    profile, vllm = hardware.profile(), arguments.vllm_python
    print(learning_curve(config, artifacts, _base(arguments), vllm, profile, sizes, arguments.test_pairs))


def _report(arguments: argparse.Namespace) -> None:
    from training.report.stage import report

    config, artifacts = _run_of(arguments)
    out = arguments.out or artifacts.folder / "report"
    print(report(config, artifacts, out, arguments.usd_per_hour))


def _publish(arguments: argparse.Namespace) -> None:
    from training.publish.golden import answers
    from training.publish.stage import admit, publish

    if arguments.push_to:
        from training.publish.hub import credentials

        credentials(os.environ)
    config, artifacts = _run_of(arguments)
    require_unchanged(config, artifacts)
    target = arguments.store or config.publish.store, arguments.version
    admit(config, artifacts, *target, arguments.override)
    golden = asyncio.run(answers(arguments.url))
    folder = publish(config, artifacts, *target, golden, arguments.usd_per_hour, arguments.override)
    print(folder)
    if arguments.push_to:
        _to_hub(folder, arguments.push_to, arguments.push_weights)


def _push(arguments: argparse.Namespace) -> None:
    from app.contract.manifest import current

    version = arguments.store / arguments.version if arguments.version else current(arguments.store)
    _to_hub(version, arguments.to, arguments.weights)


def _to_hub(version: Path, repo: str, weights: Path | None) -> None:
    from training.publish.hub import credentials, push

    print(push(version, repo, *credentials(os.environ), weights))


def _costs(arguments: argparse.Namespace) -> None:
    from training.costs.stage import costs

    configs = [load(path) for path in arguments.config or sorted(DEFAULT_CONFIG.parent.glob("*.toml"))]
    print(costs(configs, arguments.runs, arguments.store, arguments.usd_per_hour, arguments.out), end="")


def _responses(arguments: argparse.Namespace) -> None:
    from training.artifacts import write_text
    from training.evaluation.responses import backends, responses, table

    queried = backends(arguments.backend, arguments.raw, arguments.parameters, arguments.key, os.environ)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = "\n".join(table(asyncio.run(responses(queried)))) + "\n"
    if arguments.out is None:
        print(document, end="")
    else:
        write_text(arguments.out, document)


def _run(arguments: argparse.Namespace) -> None:
    from training.pipeline import run
    from training.plan import Environments, Target

    config, artifacts = _run_of(arguments)
    store = arguments.store or config.publish.store
    run(
        arguments.config,
        config,
        artifacts,
        market=arguments.market,
        environments=Environments(arguments.training_python, arguments.quantize_python, arguments.vllm_python),
        models=arguments.models,
        target=Target(store, arguments.version, arguments.usd_per_hour, arguments.override),
        profile=hardware.profile(),
        processes=arguments.processes,
    )


def _build(arguments: argparse.Namespace) -> None:
    from training.build import build

    wanted = arguments.weights or hardware.profile().weights
    print(build(arguments.store, arguments.models, arguments.quantize_python, wanted))


STAGES: dict[str, tuple[Command, str, Callable[[argparse.ArgumentParser], None]]] = {
    "dataset": (_dataset, "metrics of tickers at dates", _market),
    "label": (_label, "the teacher's answers", _label_options),
    "finetune": (_finetune, "LoRA on the labelled answers", _models),
    "qat": (_qat, "continue training the adapter with weights rounded to 4 bits", _models),
    "merge": (_merge, "adapter into the bf16 base", _models),
    "quantize": (_quantize, "4-bit AWQ of merged weights", _quantize_options),
    "dequantize": (_dequantize, "4-bit AWQ dequantized to float32", _dequantize_options),
    "evaluate": (_evaluate, "agreement of a served model with the teacher", _evaluate_options),
    "calibrate": (_calibrate, "fit the probabilities of the served weights on validation pairs", _calibrate_options),
    "learning-curve": (_curve, "agreement by number of training pairs, from data set to report", _curve_options),
    "report": (_report, "evaluations, baselines and curves of a run, as Markdown and HTML", _report_options),
    "publish": (_publish, "into the model store", _publish_options),
    "push": (_push, "push a published version to a Hugging Face repository; needs HF_TOKEN", _push_options),
    "costs": (_costs, "the case study's tables of costs beside recorded runs'", _costs_options),
    "responses": (_responses, "answers to the SNPS prompt, side by side", _responses_options),
    "run": (_run, "all stages, from data set to published model", _run_options),
    "build": (_build, "weights of the store's current version, for serving here", _build_options),
}
"""Each stage's command, help and options."""
WITHOUT_RUN = ("quantize", "dequantize", "push", "costs", "responses", "build")
"""Stages that read no run's configuration."""
