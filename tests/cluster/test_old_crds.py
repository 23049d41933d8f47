"""CRDs that are older than the operator: Helm leaves them as they are when it installs again."""

import copy
from collections.abc import Iterator

import pytest

from tests.cluster import support
from tests.harness.api import Api
from tests.harness.kinds import KINDS
from tests.harness.operator import Cluster, OperatorProcess

CRD = "CustomResourceDefinition"
NAME = "vllmservers.vllm-operator.dev"
FIELD = "refreshAvailable"


@pytest.fixture
def older(api: Api) -> Iterator[None]:
    """The CRD without a field of the status, as one of an earlier version is."""
    newer = support.child(api, "", CRD, NAME)
    old = copy.deepcopy(newer)
    del old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][FIELD]
    path = KINDS[CRD].path(None, NAME)
    api.request("PUT", path, old)
    yield
    live = support.child(api, "", CRD, NAME)
    live["spec"] = newer["spec"]
    api.request("PUT", path, live)


@pytest.mark.usefixtures("older")
def test_the_log_says_how_to_bring_them_up_to_date(cluster: Cluster, api: Api, namespace: str) -> None:
    with OperatorProcess(cluster, [namespace]) as operator:
        support.put(api, support.server(namespace))
        words = (
            "the CRDs are older than this operator: kubectl apply --server-side --force-conflicts -f crds/",
            f".status.{FIELD}: field not declared in schema",
        )
        api.wait_for(lambda: all(each in operator.log() for each in words), message="a line with the remedy")
