"""What the base needs of a cluster: a storage class, priority classes, accounts, a given claim."""

import uuid
from collections.abc import Iterator

from tests.campaign.base import ACCOUNTS, CLASS, GIVEN, PRIORITIES, RUNTIMES
from tests.harness import equipment
from tests.harness.api import Api, Object
from tests.harness.fixtures import RESTRICTED
from tests.harness.manifests import claim

PREFIX = "campaign-"


def furnish(api: Api) -> str:
    """Make a namespace in which the base can run, and return its name."""
    name = f"{PREFIX}{uuid.uuid4().hex[:10]}"
    metadata = {"name": name, "labels": RESTRICTED}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for account in ACCOUNTS:
        placed = {"name": account, "namespace": name}
        api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": placed})
    api.create(claim(name, GIVEN, "wait"))
    return name


def classes(volumes: int) -> Iterator[Object]:
    """What is of the cluster as a whole, with so many volumes of our class."""
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }
    yield from equipment.volumes(volumes, CLASS, f"{PREFIX}{uuid.uuid4().hex[:8]}")
    for name in RUNTIMES:
        yield {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name},
            "handler": "habana",
        }
    for number, name in enumerate(PRIORITIES, 1):
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": number,
            "preemptionPolicy": "Never",
        }
