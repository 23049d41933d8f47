"""What a bare control plane lacks: nodes with accelerators, storage classes, volumes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from tests.harness.api import Object

STORAGE_CLASSES = {"immediate": "Immediate", "wait": "WaitForFirstConsumer"}
DEFAULT_CLASS = "wait"
VOLUME_SIZES = ("100Gi", "1Ti", "10Ti")


@dataclass(frozen=True)
class NodeShape:
    """What every fake node offers."""

    cpus: int = 32
    memory: str = "256Gi"
    gaudi: int = 8
    pods: int = 500


def node(name: str, shape: NodeShape, kubelet_port: int) -> Object:
    """Return a node that is Ready from its first moment; kwok keeps it so, and answers at a loopback port."""
    resources = {
        "cpu": str(shape.cpus),
        "memory": shape.memory,
        "ephemeral-storage": "1Ti",
        "pods": str(shape.pods),
        "habana.ai/gaudi": str(shape.gaudi),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": "127.0.0.1"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}],
        },
    }


def storage_classes() -> Iterator[Object]:
    """Yield the two storage classes; as in most real clusters, the default one waits for a pod."""
    for name, mode in STORAGE_CLASSES.items():
        default = str(name == DEFAULT_CLASS).lower()
        yield {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": default},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
            "volumeBindingMode": mode,
        }


def volumes(count: int, storage_class: str, prefix: str) -> Iterator[Object]:
    """Yield volumes of all sizes in turn; Retain, since nothing here could delete them."""
    for index, size in enumerate(islice(cycle(VOLUME_SIZES), count)):
        name = f"{prefix}-{index}"
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": storage_class,
                "hostPath": {"path": f"/volumes/{name}"},
            },
        }
