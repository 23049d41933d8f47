"""Where the API server is, who we are there, and in which namespace."""

import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from vllm_operator.config import InvalidSettingError

_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _kubeconfig() -> str | None:
    default = Path("~/.kube/config").expanduser()
    return os.environ.get("KUBECONFIG") or (str(default) if default.exists() else None)


async def load_configuration() -> Configuration:
    """Where the API server is and who we are: KUBECONFIG or ~/.kube/config, else the pod's own account.

    Raises InvalidSettingError where none of them says it.
    """
    configuration = Configuration()
    kubeconfig = _kubeconfig()
    try:
        # The client types neither way of loading.
        if kubeconfig:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=configuration
            )
        else:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    # The client takes a folder, bytes that are no text, and an empty file as they come.
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        where = kubeconfig or "neither KUBECONFIG nor ~/.kube/config is there, and this is no pod"
        raise InvalidSettingError(f"no cluster to run against: {where}: {error}") from error
    return configuration


def own_namespace() -> str:
    """The namespace that we are in: that of the kubeconfig's context, else that of the pod's own account."""
    kubeconfig = _kubeconfig()
    if kubeconfig is None:
        return _ACCOUNT_NAMESPACE.read_text().strip()
    _, current = config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    return current["context"].get("namespace") or "default"


async def credentials() -> dict[str, Any]:
    """The same way to the API server, in the words of kopf's ConnectionInfo.

    Read afresh at each call: kopf asks again when the API server no longer takes what it has.
    """
    configuration = await load_configuration()
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    scheme, _, token = (header or "").partition(" ")
    return {
        "server": configuration.host,
        "ca_path": configuration.ssl_ca_cert or None,
        "ca_data": configuration.ca_cert_data or None,
        "insecure": not configuration.verify_ssl,
        "certificate_path": configuration.cert_file or None,
        "private_key_path": configuration.key_file or None,
        "scheme": scheme.title() or None,
        "token": token or None,
    }
