"""Servers of both engines: what runs before vLLM, compiled code, replacement and shutdown."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from app.settings.gateway import Settings
from deploy.helm import charts, kustomize
from deploy.helm.helm import CHART, Document, Refused
from tests.deploy.engines import MODELSERVICE, PRODUCTION_STACK, container, served, server, server_patch, stoppings


def test_a_stream_ends_before_its_server_does() -> None:
    longest = yaml.safe_load((CHART / "values.yaml").read_text())["backendTimeoutSeconds"]
    assert longest >= Settings.model_fields["backend_timeout_s"].default
    for noticed, draining, grace in stoppings():
        assert noticed >= PRODUCTION_STACK.load()["routerSpec"]["engineScrapeInterval"]
        assert draining > longest
        assert grace > noticed + draining
    assert kustomize.patches(PRODUCTION_STACK.folder)["vllm-deployment-router"] == server_patch()


def test_a_new_server_needs_no_spare_gpu() -> None:
    for strategy in (
        MODELSERVICE.load()["decode"]["strategy"],
        PRODUCTION_STACK.load()["servingEngineSpec"]["strategy"],
    ):
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def scripts() -> list[str]:
    """Return what each engine's pods run before vLLM starts."""
    [by_llm_d] = MODELSERVICE.load()["decode"]["initContainers"]
    both = server()["initContainer"], by_llm_d
    assert all(each["command"] == ["sh", "-c"] for each in both)
    return [script for each in both for script in each["args"]]


def mounts() -> list[tuple[list[Document], list[Document], list[Document]]]:
    """Return of each engine: the pod's volumes, the first container's mounts, and vLLM's mounts."""
    given, decode = server(), MODELSERVICE.load()["decode"]
    [first] = decode["initContainers"]
    return [
        (given["extraVolumes"], given["initContainer"]["extraVolumeMounts"], given["extraVolumeMounts"]),
        (decode["volumes"], first["volumeMounts"], container()["volumeMounts"]),
    ]


def test_the_weights_are_those_of_the_claim() -> None:
    [claim, pod] = charts.manifests_in("weights.yaml")
    for manifest in (claim, pod):
        kubernetes_validate.validate(manifest, charts.KUBERNETES, strict=True)
    name = claim["metadata"]["name"]
    [weights] = [each for each in server()["extraVolumes"] if each["name"] == "weights"]
    assert weights["persistentVolumeClaim"] == {"claimName": name, "readOnly": True}
    assert "pvcStorage" not in server(), "the chart would make another claim, which is empty"
    assert MODELSERVICE.load()["modelArtifacts"]["uri"].startswith(f"pvc://{name}/")


def test_compiled_code_is_on_a_volume() -> None:
    for env in (server()["env"], container()["env"]):
        given = {each["name"]: each["value"] for each in env}
        assert given["VLLM_CACHE_ROOT"] == "/compiled"
        assert given["TRITON_CACHE_DIR"].startswith("/compiled/")
    for volumes, first, vllm in mounts():
        [compiled] = [each for each in volumes if each["name"] == "compiled"]
        assert "emptyDir" in compiled, "no server writes what another one runs"
        for mounted in (first, vllm):
            assert {"name": "compiled", "mountPath": "/compiled"} in mounted
            others = [each for each in mounted if each["name"] in ("weights", "hashes", "model-storage")]
            assert all(each["readOnly"] for each in others)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """The claim's and the ConfigMap's files, as in docs/how-to/kubernetes.md."""
    for name in ("data", "hashes", "compiled"):
        (tmp_path / name).mkdir()
    weights = tmp_path / "data" / served() / "awq"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_text("weights")
    hashed(weights, "model.safetensors", tmp_path / "hashes/SHA256SUMS")
    return tmp_path


def hashed(folder: Path, name: str, to: Path) -> None:
    to.write_text(subprocess.run(["sha256sum", name], cwd=folder, capture_output=True, text=True, check=True).stdout)


def kept(volumes: Path) -> Path:
    """Keep compiled code beside the weights, and its hash; return the archive."""
    (volumes / "kernel").write_text("compiled")
    folder = volumes / "data" / served()
    subprocess.run(["tar", "c", "-C", volumes, "-f", folder / "compiled.tar", "kernel"], check=True)
    hashed(folder, "compiled.tar", volumes / "hashes/COMPILED")
    return folder / "compiled.tar"


def prepared(script: str, volumes: Path) -> bool:
    """Run a script with the pod's mounts in a local folder; return whether vLLM may start."""
    for mount in ("/model-cache", "/data"):
        script = script.replace(f"cd {mount}/", f"cd {volumes}/data/")
    script = script.replace("/hashes/", f"{volumes}/hashes/").replace("-C /compiled", f"-C {volumes}/compiled")
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=30).returncode == 0


@pytest.mark.parametrize("engine", [0, 1], ids=["production-stack", "llm-d"])
def test_vllm_starts_only_on_files_with_the_noted_hashes(engine: int, volumes: Path) -> None:
    script, compiled = scripts()[engine], volumes / "compiled/kernel"
    assert prepared(script, volumes) and not compiled.exists()
    archive = kept(volumes)
    assert prepared(script, volumes) and compiled.read_text() == "compiled"
    compiled.unlink()
    archive.write_bytes(archive.read_bytes() + b"more")
    assert not prepared(script, volumes) and not compiled.exists()
    (volumes / "hashes/COMPILED").unlink()
    (volumes / "data" / served() / "awq/model.safetensors").write_text("others")
    assert not prepared(script, volumes)


def test_kustomize_refuses_a_key_given_twice_and_a_patch_that_does_not_fit() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: mistral-decode%s}\nspec: {replicas: 1}\n"
    [made] = [each for each in kustomize.build(MODELSERVICE.folder, deployment % "") if each["kind"] == "Deployment"]
    assert "replicas" not in made["spec"]
    with pytest.raises(Refused, match="already defined"):
        kustomize.build(MODELSERVICE.folder, deployment % ", labels: {a: b, a: c}")
    with pytest.raises(Refused, match="replicas"):
        kustomize.build(MODELSERVICE.folder, deployment.replace("spec: {replicas: 1}", "spec: {}") % "")


def test_one_server_may_be_evicted_at_a_time() -> None:
    [budget] = [each for each in MODELSERVICE.load()["extraObjects"] if each["kind"] == "PodDisruptionBudget"]
    kubernetes_validate.validate(budget, charts.KUBERNETES, strict=True)
    labels = MODELSERVICE.load()["modelArtifacts"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert budget["spec"]["maxUnavailable"] == server()["pdb"]["maxUnavailable"] == 1
