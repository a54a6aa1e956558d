"""python -m deploy.aws against moto's server, over real HTTP: create, change, report and remove a deployment."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import cfnlint.api
import cfnlint.decode
import httpx
import pytest
import yaml
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto.cloudformation.parsing import resource_class_from_type
from moto.server import ThreadedMotoServer

from app.contract.fingerprint import fingerprint
from app.contract.manifest import BuildRecord
from deploy.aws import __main__ as command
from deploy.aws.errors import Refused, refuse_aws_errors
from deploy.aws.function_code import code
from deploy.aws.stack import OWNER, TEMPLATE, Stack

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
TEMPLATE_BODY: dict[str, Any] = cfnlint.decode.decode(str(TEMPLATE))[0]
ARN = "arn:aws:cloudformation:us-east-1:123456789012:stack/conviction/1"
MODEL_ID = f"mistral-7b-1-{fingerprint()}"
OLDER_ID = f"mistral-7b-0-{fingerprint()}"
FILES = {"config.json": b"{}", "model.safetensors": b"\0" * 3000}

Run = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS")  # resource types that moto does not create


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
    boto3.client("s3", region_name=REGION).create_bucket(Bucket="weights")
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


LIVE = "https://{}.execute-api.us-east-1.amazonaws.com/v1/chat/completions"


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def test_a_deployment_is_created_described_and_deleted(run: Run, operations: list[str]) -> None:
    assert "absent" in run("status")
    assert "uploaded" in run("push")
    assert "unchanged" in run("push")
    assert "stack conviction: created" in run("deploy")
    [api] = client("apigateway").get_rest_apis()["items"]
    status = run("status")
    assert "stack conviction: CREATE_COMPLETE\n" in status
    assert "InService, 1 of ml.g4dn.xlarge" in status
    assert LIVE.format(api["id"]) in status
    assert "with other settings than these" in run("status", instances=2)
    deleted = run("delete")
    assert deleted.count(": deleted") == 3
    assert _left() == []
    assert run("delete").count(": absent") == 3


def test_the_resources_have_the_settings(run: Run, operations: list[str]) -> None:
    run("push")
    run("deploy")
    sagemaker = client("sagemaker")
    [listed] = sagemaker.list_endpoints()["Endpoints"]
    endpoint = sagemaker.describe_endpoint(EndpointName=listed["EndpointName"])
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    [variant] = config["ProductionVariants"]
    assert variant["InstanceType"] == "ml.g4dn.xlarge"
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    container = sagemaker.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    assert container["Image"].startswith("763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:")
    assert container["Environment"]["SM_VLLM_SERVED_MODEL_NAME"] == MODEL_ID
    source = container["ModelDataSource"]["S3DataSource"]
    assert source["S3Uri"] == f"s3://weights/conviction/{MODEL_ID}/awq/"
    found = client("s3").list_objects_v2(Bucket="weights", Prefix=source["S3Uri"][13:])
    assert {each["Key"].rpartition("/")[2] for each in found["Contents"]} == set(FILES)

    function = client("lambda").get_function(FunctionName="conviction")
    assert function["Configuration"]["Environment"]["Variables"]["MODEL"] == MODEL_ID
    assert function["Configuration"]["Environment"]["Variables"]["ENDPOINT"] == listed["EndpointName"]
    assert function["Configuration"]["CodeSha256"] == b64encode(sha256(code()).digest()).decode()
    gateway = client("apigateway")
    [api] = gateway.get_rest_apis()["items"]
    [resource] = [
        each for each in gateway.get_resources(restApiId=api["id"])["items"] if each["path"] == "/chat/completions"
    ]
    method = gateway.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod="POST")
    assert method["authorizationType"] == "AWS_IAM", "only signed requests are accepted"
    uri = method["methodIntegration"]["uri"]
    assert uri.endswith(f"/functions/{function['Configuration']['FunctionArn']}/invocations")
    [statement] = json.loads(client("lambda").get_policy(FunctionName="conviction")["Policy"])["Statement"]
    assert api["id"] in json.dumps(statement)
    roles = {role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"] for role in _roles()}
    assert roles == {"sagemaker.amazonaws.com", "lambda.amazonaws.com"}


def _roles() -> list[Any]:
    return [role for role in client("iam").list_roles()["Roles"] if role["RoleName"].startswith("conviction-")]


def _left() -> list[Any]:
    """Return every resource that a deployment could leave behind, but the API, which moto's stacks leave."""
    return [
        *client("sagemaker").list_endpoints()["Endpoints"],
        *client("sagemaker").list_endpoint_configs()["EndpointConfigs"],
        *client("sagemaker").list_models()["Models"],
        *client("lambda").list_functions()["Functions"],
        *client("logs").describe_log_groups()["logGroups"],
        *_roles(),
        *client("s3").list_objects_v2(Bucket="weights").get("Contents", ()),
    ]


def test_delete_keeps_the_weights_of_other_models(run: Run, operations: list[str]) -> None:
    run("push", model_id=OLDER_ID)
    run("push")
    run("deploy")
    run("delete", model_id=OLDER_ID)
    assert {each["Key"].split("/")[1] for each in _left()} == {MODEL_ID}
    run("push", model_id=OLDER_ID)
    run("delete", "--keep-weights")
    assert {each["Key"].split("/")[1] for each in _left()} == {MODEL_ID, OLDER_ID}


def test_autoscaling_is_removed_before_the_instance_type_changes(
    run: Run, operations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto cannot update these resources: the requests are tested, not their effect."""
    run("push")
    run("deploy")
    sent: list[dict[str, str]] = []

    def recorded(self: Stack, verb: str, stack: str, **request: Any) -> None:
        sent.append({each["ParameterKey"]: each["ParameterValue"] for each in request["Parameters"]})

    monkeypatch.setattr(Stack, "_do", recorded)
    assert "autoscaling" not in run("deploy", instances_at_most=3)
    assert "autoscaling: removed while the instance type changes" in run("deploy", instance_type="ml.g5.xlarge")
    assert [(each["InstanceType"], each["Autoscaling"]) for each in sent] == [
        ("ml.g4dn.xlarge", "true"),
        ("ml.g4dn.xlarge", "false"),
        ("ml.g5.xlarge", "true"),
    ]


def test_a_stack_of_others_is_not_changed(run: Run, operations: list[str]) -> None:
    run("push")
    topic = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    client("cloudformation").create_stack(StackName="conviction", TemplateBody=json.dumps(topic))
    operations.clear()
    for name in ("deploy", "status", "delete"):
        assert "a stack conviction exists and belongs to another deployment" in run(name, status=1)
    assert not {"CreateStack", "UpdateStack", "DeleteStack"} & set(operations)


@pytest.fixture
def stubbed() -> Iterator[tuple[Stack, Stubber]]:
    """A stack whose answers from CloudFormation the test gives: moto neither compares updates nor lets one fail."""
    cloudformation = boto3.client("cloudformation", REGION, aws_access_key_id="x", aws_secret_access_key="x")
    tags = [{"Key": OWNER, "Value": "conviction"}]
    found = {"StackName": "conviction", "StackId": ARN, "Tags": tags, "CreationTime": datetime.now(UTC)}
    with Stubber(cloudformation) as stub:
        stub.add_response("describe_stacks", {"Stacks": [{**found, "StackStatus": "UPDATE_COMPLETE"}]})
        yield Stack(cloudformation, "conviction"), stub
        stub.assert_no_pending_responses()


def test_equal_settings_change_nothing(stubbed: tuple[Stack, Stubber]) -> None:
    stack, stub = stubbed
    stub.add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    assert stack.apply({}) == "unchanged"


def test_a_failed_update_reports_the_first_cause(
    stubbed: tuple[Stack, Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.aws.stack.uuid4", lambda: UUID(int=7))
    stack, stub = stubbed
    found = {"StackName": "conviction", "StackStatus": "UPDATE_ROLLBACK_COMPLETE", "CreationTime": datetime.now(UTC)}
    stub.add_response("update_stack", {"StackId": ARN})
    stub.add_response("describe_stacks", {"Stacks": [found]}, {"StackName": ARN})
    event = {"StackId": ARN, "EventId": "1", "StackName": "conviction", "Timestamp": datetime.now(UTC)}
    token = UUID(int=7).hex
    failures = [
        (token, "UPDATE_ROLLBACK_COMPLETE", "conviction", "rolled back"),
        (token, "CREATE_FAILED", "Function", "Resource creation cancelled"),
        (token, "UPDATE_FAILED", "Endpoint", "ResourceLimitExceeded"),
        ("earlier", "CREATE_FAILED", "Model", "an earlier operation"),
    ]
    events = [
        {
            **event,
            "ClientRequestToken": by,
            "ResourceStatus": status,
            "LogicalResourceId": name,
            "ResourceStatusReason": why,
        }
        for by, status, name, why in failures
    ]
    stub.add_response("describe_stack_events", {"StackEvents": events})
    with pytest.raises(Refused, match=r"update failed: Endpoint: ResourceLimitExceeded$"):
        stack.apply({})


def test_the_template_is_valid() -> None:
    """By cfn-lint: the resources' schemas, references, conditions. It includes those that moto does not create."""
    assert [str(problem) for problem in cfnlint.api.lint_file(TEMPLATE)] == []
    created = {each["Type"] for each in TEMPLATE_BODY["Resources"].values()}
    missing = {each for each in created if resource_class_from_type(each) is None}
    print(f"not created by moto, so only checked by cfn-lint: {', '.join(sorted(missing))}")
    assert missing == {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::ApiGateway::Stage",
    }


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
    assert "uploaded" in run("push")
    assert operations.count("PutObject") == 2, "what was missing, and the record"


def test_a_hub_repository_needs_no_push(run: Run, operations: list[str]) -> None:
    hub = {"weights": "hub:acme/mistral-7b", "function_code": "s3://weights/code"}
    assert "publish --push-to" in run("push", status=1, **hub)
    assert "stack conviction: created" in run("deploy", **hub)
    [model] = client("sagemaker").list_models()["Models"]
    container = client("sagemaker").describe_model(ModelName=model["ModelName"])["PrimaryContainer"]
    assert container["Environment"]["SM_VLLM_MODEL"] == "acme/mistral-7b"
    assert container["Environment"]["HF_HUB_OFFLINE"] == "0"
    assert "ModelDataSource" not in container
    assert run("delete", **hub).count(": deleted") == 2
    assert _left() == []


def test_a_streaming_deployment(run: Run, operations: list[str]) -> None:
    run("push")
    run("deploy", stream=True)
    function = client("lambda").get_function(FunctionName="conviction")["Configuration"]
    assert function["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/wrapper"
    assert function["Timeout"] == 300
    gateway = client("apigateway")
    [api] = gateway.get_rest_apis()["items"]
    [method] = [
        each["resourceMethods"]["POST"]
        for each in gateway.get_resources(restApiId=api["id"], embed=["methods"])["items"]
        if each["path"] == "/chat/completions"
    ]
    assert method["methodIntegration"]["uri"].endswith("/response-streaming-invocations")


def test_the_container_gets_the_flags_of_compose() -> None:
    flags = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["vllm"]["command"]
    composed = dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
    environment = TEMPLATE_BODY["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"]
    given = {
        name.removeprefix("SM_VLLM_").lower().replace("_", "-"): "" if value == "true" else value
        for name, value in environment.items()
        if name.startswith("SM_VLLM_")
    }
    own = {"model", "served-model-name", "dtype"}  # parameters
    assert own <= given.keys()
    assert {name: given[name] for name in given.keys() - own} == {
        name: composed[name] for name in composed.keys() - own
    }


def test_the_plan_names_parts_and_cost_without_a_request(run: Run) -> None:
    planned = run("deploy", "--plan", instances_at_most=3)
    assert "would create or update: endpoint conviction" in planned
    assert "cost: 0.7364 USD an hour for 1 of ml.g4dn.xlarge, 2.2092 at most for 3" in planned
    assert "would delete: weights s3://weights/conviction" in run("delete", "--plan")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "Bad_Name"}, "name: "),
    ({"model_id": "mistral-7b-1-0123456789ab"}, "model_id: mistral-7b-1-0123456789ab was not made for"),
    ({"weights": "file:///x"}, "weights: "),
    ({"weights": "s3://bucket"}, "weights: "),
    ({"weights": "hub:acme/mistral-7b"}, "function_code: name a folder on S3"),
    ({"instances": 3}, "instances_at_most: is less than instances"),
    ({"dtype": "bfloat16"}, "the T4 of ml.g4dn.xlarge computes in float16 alone"),
    ({"unknown": 1}, "unknown: "),
    ({"region": "x/../y"}, "region: "),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_invalid_settings_are_refused_before_any_request(changes: dict[str, Any], message: str, run: Run) -> None:
    assert message in run("deploy", status=2, **changes)


def test_all_invalid_settings_are_reported_together(run: Run) -> None:
    output = run("deploy", status=2, region="nowhere", function_code="x", instance_type="y")
    assert all(f"{name}: " in output for name in ("region", "function_code", "instance_type"))


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
