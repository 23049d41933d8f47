"""Reading and writing kubeconfig files: client certificates and bearer tokens."""

import base64
import ssl
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Connection:
    """What it takes to talk to an API server as somebody; certificates and keys are PEM text."""

    server: str
    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    token: str | None = None
    insecure: bool = False
    namespace: str | None = None

    def as_bearer(self, token: str) -> "Connection":
        """Return the same server as seen by the owner of a token."""
        return replace(self, certificate=None, key=None, token=token)

    def ssl_context(self) -> ssl.SSLContext:
        """Build the TLS settings of a client."""
        context = ssl.create_default_context(cadata=self.authority)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            # Python loads client certificates from files only.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:
                both.write(self.certificate + "\n" + self.key)
                both.flush()
                context.load_cert_chain(both.name)
        return context


def read_kubeconfig(path: Path) -> Connection:
    """Read the current context of a kubeconfig; it must log in by certificate or token."""
    content = yaml.safe_load(path.read_text())
    context = _named(content, "contexts", content["current-context"], "context")
    cluster = _named(content, "clusters", context["cluster"], "cluster")
    user = _named(content, "users", context["user"], "user")
    token = user.get("token")
    if token is None and user.get("tokenFile"):
        token = (path.parent / user["tokenFile"]).read_text().strip()
    if token is None and not (user.get("client-certificate") or user.get("client-certificate-data")):
        raise ValueError(f"{path}: only client certificates and tokens are understood, not {sorted(user)}")
    return Connection(
        server=cluster["server"],
        authority=_pem(cluster, "certificate-authority", path),
        certificate=_pem(user, "client-certificate", path),
        key=_pem(user, "client-key", path),
        token=token,
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
        namespace=context.get("namespace"),
    )


def write_kubeconfig(path: Path, connection: Connection) -> Path:
    """Write a kubeconfig that holds everything inside, readable by its owner only."""
    cluster: dict[str, Any] = {"server": connection.server}
    if connection.insecure:
        cluster["insecure-skip-tls-verify"] = True
    elif connection.authority:
        cluster["certificate-authority-data"] = _base64(connection.authority)
    user: dict[str, Any] = {}
    if connection.certificate and connection.key:
        user["client-certificate-data"] = _base64(connection.certificate)
        user["client-key-data"] = _base64(connection.key)
    if connection.token:
        user["token"] = connection.token
    context = {"cluster": "test", "user": "test"}
    if connection.namespace:
        context["namespace"] = connection.namespace
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": context}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path


def _named(content: dict[str, Any], section: str, name: str, key: str) -> dict[str, Any]:
    for entry in content[section]:
        if entry["name"] == name:
            return dict(entry[key] or {})
    raise ValueError(f"the kubeconfig has no {name} in {section}")


def _pem(section: dict[str, Any], key: str, path: Path) -> str | None:
    if data := section.get(f"{key}-data"):
        return base64.b64decode(str(data)).decode()
    if file := section.get(key):
        return (path.parent / str(file)).read_text()
    return None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
