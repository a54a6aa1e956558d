"""Values for the engines' charts: vLLM's arguments, network access and scaling; and the charts accept them.

The charts are not in this repository. ENGINE_CHARTS names a folder that has them (docs/how-to/kubernetes.md); without
it, what needs them is skipped, and the values must be those that were checked before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from app.contract.fingerprint import fingerprint
from app.telemetry.metrics import Collectors
from deploy.helm import __main__ as command
from deploy.helm import charts, kustomize
from deploy.helm.helm import CHART, Document, example, one
from tests.deploy.engines import MODELSERVICE, PRODUCTION_STACK, arguments, container, served, server, stoppings

ROOT = Path(__file__).parents[2]
VLLM = ROOT / ".envs/vllm/bin/python"

PARSING = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for arguments in json.load(sys.stdin):
    parsed = parser.parse_args(arguments)
    validate_parsed_serve_args(parsed)
    print(json.dumps({name: getattr(parsed, name) for name in (
        "model_tag", "served_model_name", "tokenizer_mode", "generation_config", "max_model_len", "max_num_seqs",
        "enable_prefix_caching", "enable_prompt_tokens_details", "structured_outputs_config", "shutdown_timeout",
    )}, default=lambda value: vars(value)))
"""


def composed() -> dict[str, Any]:
    """Return vLLM's service in docker-compose.yml."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["vllm"]
    return found


def parsed(commands: list[list[str]]) -> list[Document]:
    """Parse arguments with vLLM's parser."""
    if not VLLM.exists():
        pytest.skip(f"{VLLM} is not there: `make .envs/vllm/.complete`")
    done = subprocess.run(
        [VLLM, "-c", PARSING], input=json.dumps(commands), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The folder of charts and CRDs."""
    named = os.environ.get("ENGINE_CHARTS")
    if not named:
        pytest.skip("ENGINE_CHARTS names no folder with the engines' charts and CRDs: see docs/how-to/kubernetes.md")
    return Path(named)


def test_the_values_are_those_that_were_checked_on_their_charts() -> None:
    """Where this fails: python -m deploy.helm engines FOLDER."""
    assert json.loads(charts.CHECKED.read_text()) == charts.record()


def test_vllm_gets_the_arguments_of_compose() -> None:
    model = re.compile(r"--(model|served-model-name|max-num-seqs|shutdown-timeout)\b.*")
    wanted = {flag for flag in composed()["command"] if not model.match(flag)}
    assert len(wanted) >= 6
    for given in arguments():
        assert {flag for flag in given[1:] if flag.startswith("--") and not model.match(flag)} == wanted
    for image in (f"{server()['repository']}:{server()['tag']}", container()["image"]):
        assert image == "vllm/vllm-openai:v0.32.0"
        assert image in composed()["image"]
    wanted_env = {name: value for name, value in composed()["environment"].items() if "_CPU_" not in name}
    assert len(wanted_env) == 2
    for env in (server()["env"], container()["env"]):
        assert wanted_env.items() <= {each["name"]: each["value"] for each in env}.items()


@pytest.mark.slow
def test_vllm_s_parser_accepts_the_arguments() -> None:
    [stack, llm_d] = parsed(arguments())
    for options in (stack, llm_d):
        assert options["served_model_name"] in (served(), [served()])
        assert options["enable_prefix_caching"] and options["enable_prompt_tokens_details"]
        assert options["structured_outputs_config"]["backend"] == "xgrammar"
        assert options["max_model_len"] == 2048
    assert [options["shutdown_timeout"] for options in (stack, llm_d)] == [stopping[1] for stopping in stoppings()]


def test_the_gateway_accepts_the_model() -> None:
    assert served().endswith(fingerprint())
    for path in charts.ENGINES.rglob("*.yaml"):
        named = set(charts.MODEL_ID.findall(path.read_text()))
        assert named <= {served()}, path


def test_keda_alone_decides_the_number_of_servers() -> None:
    [scaled] = charts.manifests_in("llm-d/scaling.yaml")
    deployment = scaled["spec"]["scaleTargetRef"]["name"]
    assert kustomize.patches(MODELSERVICE.folder) == {deployment: [{"op": "remove", "path": "/spec/replicas"}]}
    assert "replicas" not in MODELSERVICE.load()["decode"]
    assert server()["keda"]["enabled"] and "replicaCount" not in server()


def triggers() -> list[Document]:
    """Return the settings of both engines."""
    [scaled] = charts.manifests_in("llm-d/scaling.yaml")
    return [*server()["keda"]["triggers"], *scaled["spec"]["triggers"]]


def test_both_engines_scale_by_waiting_requests() -> None:
    [first, second, *others] = triggers()
    assert others == [first, second]
    waiting, running = first["metadata"], second["metadata"]
    assert f'vllm:num_requests_waiting{{model_name="{served()}"}}' in waiting["query"]
    assert 'conviction_queue_depth{backend="mistral"}' in waiting["query"]
    assert f'vllm:num_requests_running{{model_name="{served()}"}}' in running["query"]
    assert int(running["threshold"]) * 4 == server()["vllmConfig"]["maxNumSeqs"] * 3
    assert not any("{model=" in each["metadata"]["query"] for each in triggers())


def test_the_metrics_that_scaling_asks_for_exist() -> None:
    page = (ROOT / "tests/deploy/vllm_metrics.txt").read_text()
    for name in ("vllm:num_requests_waiting", "vllm:num_requests_running"):
        [sample] = [line for line in page.splitlines() if line.startswith(f"{name}{{")]
        assert 'model_name="' in sample
    assert "conviction_queue_depth" in {family.name for family in Collectors().registry.collect()}


def test_the_gateways_concurrency_fills_the_servers() -> None:
    gateways, concurrency = example(), int(example()["settings"]["CONVICTION_MISTRAL_MAX_CONCURRENCY"])
    most = yaml.safe_load((CHART / "values.yaml").read_text())["autoscaling"]["maxReplicas"] * concurrency
    assert most >= server()["keda"]["maxReplicaCount"] * server()["vllmConfig"]["maxNumSeqs"]
    assert gateways["settings"]["CONVICTION_VLLM_URLS"] == "http://vllm-router-service.vllm.svc/v1"


def test_only_gateways_and_prometheus_reach_servers_without_a_key() -> None:
    for engine, others in ((PRODUCTION_STACK, {"conviction", "monitoring"}), (MODELSERVICE, {"monitoring"})):
        [policy] = [each for each in engine.load()["extraObjects"] if each["kind"] == "NetworkPolicy"]
        kubernetes_validate.validate(policy, charts.KUBERNETES, strict=True)
        [rule] = policy["spec"]["ingress"]
        spaces = [peer["namespaceSelector"] for peer in rule["from"] if "namespaceSelector" in peer]
        assert {space["matchLabels"]["kubernetes.io/metadata.name"] for space in spaces} == others


def test_the_charts_accept_the_values_and_vllm_their_arguments(folder: Path) -> None:
    assert list(command.faults(folder)) == []
    deployments = (
        one(PRODUCTION_STACK.installed(folder), "Deployment", "-vllm"),
        one(MODELSERVICE.installed(folder), "Deployment", "-decode"),
    )
    assert not any("replicas" in each["spec"] for each in deployments)
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in deployments]
    lines = [[*each["command"], *each.get("args", [])] for each in containers]
    assert all(line[:2] == ["vllm", "serve"] for line in lines)
    for each in parsed([line[2:] for line in lines]):
        assert each["enable_prefix_caching"] and each["served_model_name"] in (served(), [served()])
