"""python -m deploy.aws against moto's server, over real HTTP: create, change, report and remove a deployment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto.sagemaker.responses import SageMakerResponse
from moto.server import ThreadedMotoServer

from app.contract.fingerprint import fingerprint
from app.contract.manifest import BuildRecord
from deploy.aws import __main__ as command
from deploy.aws.api import integration
from deploy.aws.endpoint import MOUNTED, environment
from deploy.aws.errors import Refused, refuse_aws_errors
from deploy.aws.settings import load

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
CONCURRENCY = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
"""Application Auto Scaling's dimension for a variant without inference components."""
MODEL_ID = f"mistral-7b-1-{fingerprint()}"
OLDER_ID = f"mistral-7b-0-{fingerprint()}"
READING = re.compile("Describe|List|Get|Head")
FILES = {"config.json": b"{}", "model.safetensors": b"\0" * 3000}

BY_LAMBDA = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}

Run = Callable[..., str]


def update_endpoint(self: Any) -> Any:
    """Emulate what moto lacks: switch the endpoint to the other configuration."""
    name, config = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
    backend = self.sagemaker_backend
    found = backend.endpoints[name]
    found.endpoint_config_name = config
    described = backend.describe_endpoint_config(config)
    found.production_variants = found._process_production_variants(described["ProductionVariants"])
    return json.dumps({"EndpointArn": found.arn})


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def operations(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An account with one bucket, and a record of every operation called."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    given = {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    boto3.client("s3", region_name=REGION).create_bucket(Bucket="weights")
    boto3.client("iam", region_name=REGION).create_role(
        RoleName="function", AssumeRolePolicyDocument=json.dumps(BY_LAMBDA)
    )
    asked: list[str] = []
    send = BaseClient._make_api_call

    def counted(self: BaseClient, operation: str, parameters: Any) -> Any:
        asked.append(operation)
        return send(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", counted)
    yield asked
    httpx.post(f"{aws}/moto-api/reset", timeout=20, trust_env=False).raise_for_status()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for model_id in (MODEL_ID, OLDER_ID):
        folder = tmp_path / "models" / model_id / "awq"
        folder.mkdir(parents=True)
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        build = BuildRecord(
            model_id=model_id,
            manifest_sha256="0" * 64,
            kind="awq",
            weights={name: sha256(content).hexdigest() for name, content in FILES.items()},
        )
        (folder.parent / "build-awq.json").write_text(build.model_dump_json())
    return tmp_path / "models"


def toml(tmp_path: Path, **changes: Any) -> Path:
    given = {
        "name": "conviction",
        "region": REGION,
        "model_id": MODEL_ID,
        "weights": "s3://weights/conviction",
        "endpoint_role": "arn:aws:iam::123456789012:role/endpoint",
        "function_role": "arn:aws:iam::123456789012:role/function",
    } | changes
    path = tmp_path / "deployment.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
    return path


@pytest.fixture
def run(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with settings; return its output or its refusal."""

    def go(what: str, *flags: str, status: int = 0, **changes: Any) -> str:
        config = toml(tmp_path, **changes)
        code = command.main([what, "--config", str(config), "--models", str(models), *flags])
        out, err = capsys.readouterr()
        assert code == status, err
        if status:
            assert err.startswith("deploy.aws: ")
            assert err.count("\n") == 1
            assert "hush" not in err
        return err if status else out

    return go


def ends(output: str) -> list[str]:
    return [line.rpartition(": ")[2] for line in output.splitlines()]


def test_a_second_deployment_changes_nothing(run: Run, operations: list[str]) -> None:
    assert ends(run("status")) == ["absent"] * 5
    assert ends(run("push")) == ["made"]
    assert ends(run("deploy"))[:-1] == ["made"] * 4
    operations.clear()
    assert ends(run("push")) == ["as it was"]
    again = run("deploy")
    assert ends(again)[:-1] == ["as it was"] * 4
    assert [each for each in operations if not READING.match(each)] == []
    assert re.search(r"https://\w+\.execute-api\.us-east-1\.amazonaws\.com/v1/chat/completions$", again.strip())
    state = run("status")
    assert "absent" not in state
    assert "InService" in state


def test_the_resources_have_the_settings(run: Run, operations: list[str]) -> None:
    run("push")
    run("deploy")
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    endpoint = sagemaker.describe_endpoint(EndpointName="conviction")
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])[
        "ProductionVariants"
    ]
    assert variant["InstanceType"] == "ml.g4dn.xlarge"
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    container = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    assert container["Image"].startswith("763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:")
    assert container["Environment"]["SM_VLLM_SERVED_MODEL_NAME"] == MODEL_ID
    source = container["ModelDataSource"]["S3DataSource"]
    assert source["S3Uri"] == f"s3://weights/conviction/{MODEL_ID}/awq/"
    listed = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket="weights", Prefix=source["S3Uri"][13:])
    assert {each["Key"].rpartition("/")[2] for each in listed["Contents"]} == set(FILES)

    scaling = boto3.client("application-autoscaling", region_name=REGION)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["PredefinedMetricSpecification"]["PredefinedMetricType"] == CONCURRENCY
    assert policy["ResourceId"] == f"endpoint/conviction/variant/{variant['VariantName']}"

    gateway = boto3.client("apigateway", region_name=REGION)
    (api,) = gateway.get_rest_apis()["items"]
    (resource,) = [
        each for each in gateway.get_resources(restApiId=api["id"])["items"] if each["path"] == "/chat/completions"
    ]
    integration = gateway.get_integration(restApiId=api["id"], resourceId=resource["id"], httpMethod="POST")
    arn = boto3.client("lambda", region_name=REGION).get_function(FunctionName="conviction")["Configuration"][
        "FunctionArn"
    ]
    assert integration["uri"].endswith(f"/functions/{arn}/invocations")
    method = gateway.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod="POST")
    assert method["authorizationType"] == "AWS_IAM", "only signed requests are accepted"
    (statement,) = json.loads(
        boto3.client("lambda", region_name=REGION).get_policy(FunctionName="conviction")["Policy"]
    )["Statement"]
    assert api["id"] in json.dumps(statement)


def _left() -> list[Any]:
    """Return every resource that a deployment could leave behind."""
    sagemaker, gateway = boto3.client("sagemaker", region_name=REGION), boto3.client("apigateway", region_name=REGION)
    scaling = boto3.client("application-autoscaling", region_name=REGION)
    return [
        *sagemaker.list_endpoints()["Endpoints"],
        *sagemaker.list_endpoint_configs()["EndpointConfigs"],
        *sagemaker.list_models()["Models"],
        *scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        *scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
        *gateway.get_rest_apis()["items"],
        *boto3.client("lambda", region_name=REGION).list_functions()["Functions"],
        *boto3.client("s3", region_name=REGION).list_objects_v2(Bucket="weights").get("Contents", ()),
    ]


def test_changed_settings_are_applied_and_delete_removes_everything(run: Run, operations: list[str]) -> None:
    run("push", model_id=OLDER_ID)
    run("deploy", model_id=OLDER_ID)
    run("push")
    operations.clear()
    changed = run("deploy", instances=2, instances_at_most=4, concurrent_requests=4, stream=True)
    assert "taken off while the endpoint changes" in changed
    assert ends(changed)[1:-1] == ["changed", "made", "changed", "changed"]
    assert "UpdateEndpoint" in operations
    assert operations.index("DeregisterScalableTarget") < operations.index("UpdateEndpoint")
    function = boto3.client("lambda", region_name=REGION).get_function(FunctionName="conviction")["Configuration"]
    assert function["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/wrapper"
    assert function["Environment"]["Variables"]["MODEL"] == MODEL_ID
    same = {"instances": 2, "instances_at_most": 4, "concurrent_requests": 4, "stream": True}
    assert ends(run("deploy", **same))[:-1] == ["as it was"] * 4
    back = run("deploy", model_id=OLDER_ID)  # the version before, whose model SageMaker still has
    assert ends(back)[1] == "changed"
    run("delete", model_id=OLDER_ID)
    assert {each["Key"].split("/")[1] for each in _left()} == {MODEL_ID}, "the other model's weights"
    assert ends(run("delete")) == ["was not there"] * 4 + ["taken back"]
    assert _left() == []
    assert ends(run("delete")) == ["was not there"] * 5


def test_resources_of_others_are_not_changed(run: Run, operations: list[str]) -> None:
    run("push")
    run("deploy")
    boto3.client("lambda", region_name=REGION).untag_resource(
        Resource="arn:aws:lambda:us-east-1:123456789012:function:conviction", TagKeys=["conviction-deployment"]
    )
    for name in ("deploy", "status", "delete"):
        assert "a function conviction exists and belongs to another deployment" in run(name, status=1)
    sagemaker = boto3.client("sagemaker", region_name=REGION)
    arn = sagemaker.describe_endpoint(EndpointName="conviction")["EndpointArn"]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["conviction-deployment"])
    assert "an endpoint conviction exists and belongs to another deployment" in run("deploy", status=1)
    assert sagemaker.describe_endpoint(EndpointName="conviction")["EndpointStatus"] == "InService"


def test_a_method_without_authorization_is_not_deployed(run: Run, operations: list[str]) -> None:
    run("push")
    run("deploy")
    gateway = boto3.client("apigateway", region_name=REGION)
    (api,) = gateway.get_rest_apis()["items"]
    found = gateway.get_resources(restApiId=api["id"])["items"]
    (method,) = [
        {"restApiId": api["id"], "resourceId": each["id"], "httpMethod": "POST"}
        for each in found
        if each["path"] == "/chat/completions"
    ]
    gateway.delete_method(**method)
    gateway.put_method(**method, authorizationType="NONE")
    operations.clear()
    assert "is open (authorization NONE): it is not deployed" in run("deploy", status=1, stream=True)
    assert "CreateDeployment" not in operations


def test_weights_with_a_wrong_hash_are_not_pushed(run: Run, operations: list[str], models: Path) -> None:
    assert "do not exist: upload them with `push`" in run("deploy", status=1)
    (models / MODEL_ID / "awq" / "model.safetensors").write_bytes(b"poisoned")
    assert "is not what was published" in run("push", status=1)
    (models / MODEL_ID / "build-awq.json").unlink()
    assert "`make model` builds the weights" in run("push", status=1)
    assert "NoSuchBucket" in run("push", status=1, weights="s3://nowhere/conviction", model_id=OLDER_ID)
    assert _left() == []


def test_an_interrupted_push_resumes(run: Run, operations: list[str]) -> None:
    run("push")
    s3 = boto3.client("s3", region_name=REGION)
    s3.delete_object(Bucket="weights", Key=f"conviction/{MODEL_ID}/build-awq.json")
    s3.delete_object(Bucket="weights", Key=f"conviction/{MODEL_ID}/awq/config.json")
    operations.clear()
    assert ends(run("push")) == ["made"]
    assert operations.count("PutObject") == 2, "what was missing, and the record"


def test_a_hub_repository_needs_no_push(run: Run, operations: list[str]) -> None:
    assert "publish --push-to" in run("push", status=1, weights="hub:acme/mistral-7b")
    assert ends(run("deploy", weights="hub:acme/mistral-7b"))[:-1] == ["made"] * 4
    (model,) = boto3.client("sagemaker", region_name=REGION).list_models()["Models"]
    described = boto3.client("sagemaker", region_name=REGION).describe_model(ModelName=model["ModelName"])
    assert described["PrimaryContainer"]["Environment"]["SM_VLLM_MODEL"] == "acme/mistral-7b"
    assert "HF_HUB_OFFLINE" not in described["PrimaryContainer"]["Environment"]


def test_the_container_gets_the_flags_of_compose(tmp_path: Path) -> None:
    flags = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["vllm"]["command"]
    composed = dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
    deployment = load(toml(tmp_path))
    given = {
        name.removeprefix("SM_VLLM_").lower().replace("_", "-"): "" if value == "true" else value
        for name, value in environment(deployment).items()
        if name.startswith("SM_VLLM_")
    }
    own = {"model": MOUNTED, "served-model-name": MODEL_ID, "dtype": "float16"}  # a T4 needs the last
    assert given == composed | own


def test_streaming_uses_the_streaming_invocation(tmp_path: Path) -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:conviction"
    streamed = integration(load(toml(tmp_path, stream=True)), arn)
    assert streamed["responseTransferMode"] == "STREAM"
    assert streamed["uri"] == (
        f"arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/{arn}/response-streaming-invocations"
    )
    whole = integration(load(toml(tmp_path)), arn)
    assert (whole["responseTransferMode"], whole["timeoutInMillis"]) == ("BUFFERED", 29_000)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "Bad_Name"}, "name: "),
    ({"model_id": "mistral-7b-1-0123456789ab"}, "model_id: mistral-7b-1-0123456789ab was not made for"),
    ({"weights": "file:///x"}, "weights: "),
    ({"weights": "s3://bucket"}, "weights: "),
    ({"endpoint_role": "admin"}, "endpoint_role: "),
    ({"instances": 3}, "instances_at_most: is less than instances"),
    ({"dtype": "bfloat16"}, "the T4 of ml.g4dn.xlarge computes in float16 alone"),
    ({"unknown": 1}, "unknown: "),
    ({"region": "x/../y"}, "region: "),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_invalid_settings_are_refused_before_any_request(changes: dict[str, Any], message: str, run: Run) -> None:
    assert message in run("deploy", status=2, **changes)


def test_all_invalid_settings_are_reported_together(run: Run) -> None:
    output = run("deploy", status=2, region="nowhere", endpoint_role="x", instance_type="y")
    assert all(f"{name}: " in output for name in ("region", "endpoint_role", "instance_type"))


def test_no_credentials_and_no_aws_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "no AWS credentials found" in run("status", status=1)
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert "AWS' credentials cannot be used (ProfileNotFound)" in run("status", status=1)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "asking AWS failed: EndpointConnectionError: Could not connect" in run("status", status=1)


def test_a_refused_signature_is_reported_without_the_request() -> None:
    quoted = {"Code": "SignatureDoesNotMatch", "Message": "should have been 'POST\nx-amz-security-token:hush'"}
    with pytest.raises(Refused) as raised, refuse_aws_errors():
        raise ClientError({"Error": quoted}, "CreateModel")
    assert str(raised.value) == "AWS does not accept the credentials (CreateModel: SignatureDoesNotMatch)"
    denied = {"Code": "AccessDeniedException", "Message": "may not\nsagemaker:CreateModel"}
    message = "AWS refused CreateModel: AccessDeniedException: may not sagemaker:CreateModel"
    with pytest.raises(Refused, match=message), refuse_aws_errors():
        raise ClientError({"Error": denied}, "CreateModel")
