"""Nodes and volumes of one test alone."""

import uuid
from typing import Any

from tests.harness.api import Object
from tests.harness.controlplane import ControlPlane
from tests.harness.equipment import NodeShape

HOSTNAME = "kubernetes.io/hostname"


class Pool:
    """Fake nodes with a label of their own, and a storage class with volumes on them; a context manager."""

    def __init__(self, cluster: ControlPlane):
        """Plan a pool; it is empty."""
        self.name = f"pool-{uuid.uuid4().hex[:8]}"
        self.selector = {self.name: "yes"}
        """What pods select that are to run here."""
        self.label = f"{self.name}=yes"
        """The same, as the operator's settings take it."""
        self._cluster = cluster
        self._made: list[tuple[str, str]] = []

    def __enter__(self) -> "Pool":
        """Return the pool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away; what is bound to it goes with its namespace."""
        for kind, name in reversed(self._made):
            self._cluster.api.delete(kind, None, name, missing_ok=True)

    def add_node(self, labels: dict[str, str] | None = None, **shape: Any) -> str:
        """Add a node of a shape (see `NodeShape`), with further labels, and return its name."""
        (name,) = self._cluster.add_nodes(1, NodeShape(**shape))
        self._made.append(("Node", name))
        chosen = self.selector | (labels or {})
        self._cluster.api.patch("Node", None, name, {"metadata": {"labels": chosen}})
        self._cluster.wait_for_nodes()
        return name

    def storage_class(self, mode: str) -> str:
        """Make a storage class without volumes, of a volumeBindingMode, and return its name."""
        self._create(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": self.name},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": mode,
            }
        )
        return self.name

    def add_volume(self, node: str) -> str:
        """Add a volume of the pool's class that only one node can mount, and return its name."""
        name = f"{self.name}-{node}"
        expression = {"key": HOSTNAME, "operator": "In", "values": [node]}
        spec = {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": self.name,
            "local": {"path": f"/volumes/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        }
        metadata = {"name": name}
        self._create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
        return name

    def _create(self, obj: Object) -> None:
        self._cluster.api.create(obj)
        self._made.append((obj["kind"], obj["metadata"]["name"]))
