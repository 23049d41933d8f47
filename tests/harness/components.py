"""The command lines of the control plane's programs, and the files that they read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.harness.binaries import find_binary
from tests.harness.certs import Authority
from tests.harness.kubeconfig import Connection, write_kubeconfig
from tests.harness.processes import Process

STAGES = Path(__file__).with_name("stages")
SYSTEM_USERS = ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kwok"]
LOGGED = ("calibration", "prefetch", "vllm")
"""Containers that have logs."""
CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kwok": ("system:kwok", "system:masters"),
}


@dataclass(frozen=True)
class Layout:
    """Where everything of one control plane is: a folder and four loopback ports."""

    folder: Path
    server_port: int
    etcd_port: int
    etcd_peer_port: int
    kubelet_port: int
    """Where kwok answers for every node's kubelet: with the logs of containers."""

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.server_port}"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self.folder / "audit.log"

    def container_log(self, container: str) -> Path:
        """The log of all containers of a name, one of `LOGGED`, in the form of the CRI."""
        return self.folder / "logs" / f"{container}.log"

    def kubeconfig(self, client: str) -> Path:
        """The kubeconfig of one of `CLIENTS`."""
        return self.folder / f"{client}.kubeconfig"

    def process(self, name: str, *arguments: str) -> Process:
        """Describe one program with a log file of its own."""
        return Process(name, [find_binary(name), *arguments], self.folder / f"{name}.log")


def write_certificates(layout: Layout) -> None:
    """Write the server's certificates and a kubeconfig for every client."""
    folder = layout.folder / "pki"
    authority = Authority(folder)
    authority.issue("server", "kube-apiserver", addresses="IP:127.0.0.1,IP:10.96.0.1,DNS:localhost")
    authority.signing_key()
    for client, (user, group) in CLIENTS.items():
        pair = authority.issue(client, user, group)
        connection = Connection(
            server=layout.url,
            authority=authority.own.certificate.read_text(),
            certificate=pair.certificate.read_text(),
            key=pair.key.read_text(),
        )
        write_kubeconfig(layout.kubeconfig(client), connection)


def etcd(layout: Layout) -> Process:
    """Describe etcd, which does not wait for its disk: what it holds is thrown away anyway."""
    own, peer = f"http://127.0.0.1:{layout.etcd_port}", f"http://127.0.0.1:{layout.etcd_peer_port}"
    settings = {
        "name": "test",
        "data-dir": str(layout.folder / "etcd"),
        "listen-client-urls": own,
        "advertise-client-urls": own,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"test={peer}",
        "unsafe-no-fsync": True,
        "quota-backend-bytes": 8 * 1024**3,
        "log-level": "warn",
    }
    return layout.process("etcd", "--config-file", _write(layout.folder / "etcd.yaml", settings))


def api_server(layout: Layout) -> Process:
    """Describe the API server: RBAC, Pod Security and an audit log without the system's own requests."""
    pki = layout.folder / "pki"
    return layout.process(
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.server_port}",
        f"--tls-cert-file={pki / 'server.crt'}",
        f"--tls-private-key-file={pki / 'server.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--max-requests-inflight=3000",
        "--max-mutating-requests-inflight=2000",
        f"--audit-policy-file={_write(layout.folder / 'audit-policy.yaml', _audit_policy())}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-mode=blocking",
        # A log that is rotated away under a reader would lose entries; the default is 100 megabytes.
        "--audit-log-maxsize=100000",
        "--profiling=false",
    )


def controller_manager(layout: Layout) -> Process:
    """Describe the controller manager, fast enough for 1,000 Deployments."""
    pki = layout.folder / "pki"
    return layout.process(
        "kube-controller-manager",
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--concurrent-deployment-syncs=20",
        "--concurrent-replicaset-syncs=20",
        "--concurrent-namespace-syncs=20",
        "--concurrent-service-endpoint-syncs=10",
        "--horizontal-pod-autoscaler-sync-period=2s",
        # A busy machine delays heartbeats, and no test is about nodes that fail by themselves.
        "--node-monitor-grace-period=300s",
    )


def scheduler(layout: Layout) -> Process:
    """Describe the scheduler; its request limits can be set in its configuration file only."""
    settings = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("scheduler")), "qps": 1000, "burst": 2000},
        "leaderElection": {"leaderElect": False},
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 2,
    }
    config = _write(layout.folder / "scheduler.yaml", settings)
    return layout.process("kube-scheduler", f"--config={config}", "--secure-port=0")


def kwok(layout: Layout) -> Process:
    """Describe kwok, which plays the nodes' kubelets by the stages in this folder, and serves logs."""
    pki = layout.folder / "pki"
    settings = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "manageAllNodes": True,
            "cidr": "10.0.0.0/14",
            "podPlayStageParallelism": 32,
            "nodePlayStageParallelism": 4,
            "serverAddress": f"127.0.0.1:{layout.kubelet_port}",
            "nodeIP": "127.0.0.1",
            "nodePort": layout.kubelet_port,
            "tlsCertFile": str(pki / "server.crt"),
            "tlsPrivateKeyFile": str(pki / "server.key"),
            "enableDebuggingHandlers": True,
        },
    }
    config = layout.folder / "kwok.yaml"
    stages = (path.read_text() for path in sorted(STAGES.glob("*.yaml")))
    documents = [yaml.safe_dump(settings), yaml.safe_dump(_logs(layout)), *stages]
    config.write_text("---\n".join(documents))
    kubeconfig = layout.kubeconfig("kwok")
    return layout.process("kwok", f"--kubeconfig={kubeconfig}", f"--config={config}", "--v=WARN")


def _logs(layout: Layout) -> dict[str, Any]:
    layout.container_log("").parent.mkdir(exist_ok=True)
    logs = [{"containers": [name], "logsFile": str(layout.container_log(name))} for name in LOGGED]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "logs"},
        "spec": {"logs": logs},
    }


def _audit_policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "None", "users": SYSTEM_USERS},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system", "system:nodes"]},
            {"level": "Metadata"},
        ],
    }


def _write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)
