"""What infra/ ships, held against the schemas, linters and stand-ins that there are. Nothing of it was run on AWS or on
Kubernetes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate as validate
import moto
import pytest
import yaml

from pipeline.simulate.s3_server import IMAGES, RESULTS, ROLES
from tests.conftest import ROOT

INFRA = ROOT / "infra"
#: actions of S3 -> what SeaweedFS calls them
RIGHTS = {"s3:GetObject": "Read", "s3:PutObject": "Write", "s3:ListBucket": "List"}


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    assert found is not None, f"{name} is in the extra `test`: run `make setup`"
    return found


def test_the_dockerfile_has_nothing_that_hadolint_finds() -> None:
    answer = subprocess.run([tool("hadolint"), str(INFRA / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_the_image_is_made_from_what_it_copies_and_from_nothing_else() -> None:
    copied = [line.split()[1:-1] for line in (INFRA / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names} == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_the_image_does_not_run_as_root_and_its_base_is_named_by_digest() -> None:
    text = (INFRA / "Dockerfile").read_text()
    assert text.splitlines()[-2] == "USER 1000"
    assert "FROM ${PYTHON_IMAGE}" in text
    assert "@sha256:" in (ROOT / "Makefile").read_text()


def test_the_template_of_aws_has_nothing_that_cfn_lint_finds() -> None:
    answer = subprocess.run([tool("cfn-lint"), str(INFRA / "aws.yaml")], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, Any]]:
    """The template as moto makes it: its clients, by service."""
    import boto3

    with moto.mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "none")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        names = ("cloudformation", "iam", "s3", "ec2", "autoscaling", "logs", "ssm", "budgets")
        clients: dict[str, Any] = {name: boto3.client(name, region_name="us-east-1") for name in names}
        vpc = clients["ec2"].create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = clients["ec2"].create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        machine = clients["ec2"].describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        clients["ssm"].put_parameter(Name="/machine", Value=machine, Type="String")
        given = {
            "Image": "registry/worker@sha256:" + "0" * 64,
            "ImagesBucket": IMAGES,
            "ResultsBucket": RESULTS,
            "Vpc": vpc,
            "Subnets": subnet,
            "Certificates": "arn:aws:secretsmanager:us-east-1:123456789012:secret:certificates",
            "Email": "someone@example.org",
            "MachineImage": "/machine",
        }
        clients["cloudformation"].create_stack(
            StackName="screen",
            TemplateBody=(INFRA / "aws.yaml").read_text(),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        listed = clients["cloudformation"].describe_stack_resources(StackName="screen")["StackResources"]
        clients["made"] = {
            made["LogicalResourceId"]: made.get("PhysicalResourceId") for made in listed if "LogicalResourceId" in made
        }
        yield clients


def template(resource: str) -> dict[str, Any]:
    """The properties of a resource as they stand in the template, for what moto does not make of them."""
    return yaml.load((INFRA / "aws.yaml").read_text(), _Plain)["Resources"][resource]["Properties"]


def statements(stack: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """All that a role may do, its names resolved by moto: its own policies and those of the template."""
    iam, name = stack["iam"], stack["made"][role]
    documents = [
        iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    # moto attaches none to the role, but makes them
    for policy in [one for one in template(role)["ManagedPolicyArns"] if ":" not in one]:
        about = iam.get_policy(PolicyArn=stack["made"][policy])["Policy"]
        version = iam.get_policy_version(PolicyArn=about["Arn"], VersionId=about["DefaultVersionId"])["PolicyVersion"]
        documents.append(version["Document"])
    plain = [yaml.safe_load(document) if isinstance(document, str) else document for document in documents]
    return [statement for document in plain for statement in document["Statement"]]


def s3_rights(stack: dict[str, Any], role: str) -> set[tuple[str, str]]:
    """(action, bucket or bucket/*), e.g. ("s3:GetObject", "images/*")."""
    return {
        (action, statement["Resource"].rpartition(":")[2])
        for statement in statements(stack, role)
        for action in statement["Action"]
        if action.startswith("s3:")
    }


def test_a_worker_may_do_what_the_worker_of_the_tests_may_and_nothing_else(stack: dict[str, Any]) -> None:
    """So a stage that asks for more fails in the tests, which run as that identity."""
    rights = {f"{RIGHTS[action]}:{where.partition('/')[0]}" for action, where in s3_rights(stack, "WorkerRole")}
    assert rights == set(ROLES["worker"])


def test_the_driver_may_remove_results_too_and_ask_for_workers(stack: dict[str, Any]) -> None:
    more = s3_rights(stack, "SchedulerRole") - s3_rights(stack, "WorkerRole")
    assert more == {("s3:DeleteObject", f"{RESULTS}/*")}
    [ask] = [one for one in statements(stack, "SchedulerRole") if "autoscaling:SetDesiredCapacity" in one["Action"]]
    assert ask["Resource"].endswith("autoScalingGroupName/screen-workers")


@pytest.mark.parametrize("role", ["WorkerRole", "SchedulerRole"])
def test_no_role_may_do_anything_to_everything(stack: dict[str, Any], role: str) -> None:
    for statement in statements(stack, role):
        assert all("*" not in action for action in statement["Action"])
        if statement["Resource"] == "*":  # two calls that know no narrower resource, and read only
            assert statement["Action"] in (["ecr:GetAuthorizationToken"], ["autoscaling:DescribeAutoScalingGroups"])


def test_the_results_are_closed_to_the_public() -> None:
    blocked = template("Results")["PublicAccessBlockConfiguration"]
    assert len(blocked) == 4
    assert set(blocked.values()) == {True}
    [statement] = template("ResultsPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_workers_are_spot_machines_and_go_down_to_none(stack: dict[str, Any]) -> None:
    [group] = stack["autoscaling"].describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["MinSize"], group["DesiredCapacity"]) == (0, 0)
    assert template("Workers")["CapacityRebalance"]
    distribution = group["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["OnDemandBaseCapacity"] == distribution["OnDemandPercentageAboveBaseCapacity"] == 0
    assert distribution["SpotAllocationStrategy"] == "price-capacity-optimized"


def test_nobody_but_the_cluster_itself_reaches_it(stack: dict[str, Any]) -> None:
    [group] = stack["ec2"].describe_security_groups(GroupIds=[stack["made"]["Cluster"]])["SecurityGroups"]
    for rule in group["IpPermissions"]:
        assert rule["IpRanges"] == rule["Ipv6Ranges"] == []
        assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [stack["made"]["Cluster"]]
    assert "PublicIp" not in (INFRA / "aws.yaml").read_text()


def test_there_is_a_log_and_a_budget(stack: dict[str, Any]) -> None:
    [log] = stack["logs"].describe_log_groups(logGroupNamePrefix="/cellpainting/screen")["logGroups"]
    assert log["retentionInDays"] == 90
    notices = template("Budget")["NotificationsWithSubscribers"]
    assert [one["Notification"]["Threshold"] for one in notices] == [80, 100]


class _Plain(yaml.SafeLoader):
    """CloudFormation's tags as what stands behind them."""


_Plain.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    ),
)


def test_the_cluster_of_kubernetes_fits_the_operators_schema() -> None:
    found = importlib.util.find_spec("dask_kubernetes")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    [version] = yaml.safe_load((folder / "daskcluster.yaml").read_text())["spec"]["versions"]
    manifest = yaml.safe_load((INFRA / "kubernetes" / "cluster.yaml").read_text())
    jsonschema.validate(manifest, closed(version["schema"]["openAPIV3Schema"]))


def closed(schema: Any) -> Any:
    """The schema, in which a key that it does not know is wrong, as kubectl has it."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    known = {name: closed(value) for name, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        extra = {"apiVersion": {}, "kind": {}, "metadata": {}} if "spec" in schema["properties"] else {}
        known |= {"additionalProperties": False, "properties": extra | known["properties"]}
    return known


def test_the_run_on_kubernetes_fits_its_schema() -> None:
    manifest = yaml.safe_load((INFRA / "kubernetes" / "run.yaml").read_text())
    validate.validate(manifest, validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["cluster.yaml", "run.yaml"])
def test_no_pod_is_root_or_keeps_a_right_that_it_does_not_need(name: str) -> None:
    manifest = yaml.safe_load((INFRA / "kubernetes" / name).read_text())
    pods = list(pods_of(manifest))
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def pods_of(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "containers" in part:
            yield part
        for value in part.values():
            yield from pods_of(value)
