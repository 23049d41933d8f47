"""From a rendered pod template to a command that runs its container under bubblewrap.

uid and gid, the read-only root, capabilities, volumes, mounts, command, arguments and environment are those
of the template. Anything in it that is not known here is an error: nothing that is rendered goes untried in
silence. Not acted out: where the pod is placed, limits of CPU and memory, groups of files (`fsGroup`), image
pulls. The user is the rendered one inside a user namespace only, and outside whoever runs the tests.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.vllm import seccomp
from tests.vllm.kubelet import expand
from vllm_operator.api.quantity import in_bytes

Json = Mapping[str, Any]

SECCOMP_FD = "9"
POD_IP = "10.255.0.1"
"""Address of the pod in its own network namespace."""
ACTED_OUT = {
    "pod": {"containers", "securityContext", "terminationGracePeriodSeconds", "volumes"},
    "container": {"args", "command", "env", "lifecycle", "livenessProbe", "name", "ports", "readinessProbe"}
    | {"securityContext", "startupProbe", "terminationMessagePolicy", "volumeMounts"},
    "pod's securityContext": {"runAsGroup", "runAsUser", "seccompProfile"},
    "container's securityContext": {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"},
}
LEFT_OUT: dict[str, set[str]] = {
    "pod": {"automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets", "serviceAccountName"}
    | {"affinity", "nodeSelector", "priorityClassName", "tolerations", "topologySpreadConstraints"},
    "container": {"image", "imagePullPolicy", "resources"},
    "pod's securityContext": {"fsGroup", "fsGroupChangePolicy", "runAsNonRoot"},
    "container's securityContext": set(),
}


@dataclass(frozen=True)
class Outside:
    """What a pod finds in its cluster: claims as folders, and the data of ConfigMaps and Secrets."""

    claims: Mapping[str, Path]
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Addresses of names, which stand in /etc/hosts: there is no DNS."""


class Image(Protocol):
    """What the image of a container holds."""

    def root(self) -> Iterator[str]:
        """Words of bubblewrap that lay its files."""

    def environment(self) -> Mapping[str, str]:
        """Variables that it sets."""


@dataclass(frozen=True)
class VLLM:
    """An image with vLLM: a system without a user 1000, and an environment with its Python."""

    python: Path

    def environment(self) -> Mapping[str, str]:
        """Where programs are."""
        return {"PATH": f"{self.python}/bin:/usr/local/bin:/usr/bin:/bin"}

    def root(self) -> Iterator[str]:
        """What this system has, but for its users."""
        read_only = ["/usr", "/sys", "/etc/alternatives", "/etc/ssl", "/etc/ld.so.cache"]
        for path in ("/bin", "/lib", "/lib64", "/sbin"):
            if os.path.islink(path):
                yield from ("--symlink", os.readlink(path), path)
            elif os.path.exists(path):
                read_only.append(path)
        base = Path(sys.base_prefix).resolve()
        for path in [*read_only, str(base), str(self.python)]:
            yield from ("--ro-bind", path, path)
        yield from ("--proc", "/proc", "--dev", "/dev")


def environment(container: Json, outside: Outside, pod: Mapping[str, str]) -> dict[str, str]:
    """The variables of a container; `pod` holds what a fieldRef finds."""
    sources: dict[str, Callable[[Json], str | None]] = {
        "configMapKeyRef": lambda ref: outside.config_maps.get(ref["name"], {}).get(ref["key"]),
        "secretKeyRef": lambda ref: outside.secrets.get(ref["name"], {}).get(ref["key"]),
        "fieldRef": lambda ref: pod[ref["fieldPath"]],
    }
    variables: dict[str, str] = {}
    for entry in container["env"]:
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(entry.get("value", ""), variables)
            continue
        ((kind, reference),) = entry["valueFrom"].items()
        value = sources[kind](reference)
        if value is None and not reference.get("optional"):
            raise LookupError(f"{entry['name']}: {kind} {reference} does not exist")
        if value is not None:
            variables[entry["name"]] = value
    return variables


class Sandbox:
    """The bubblewrap of one container."""

    def __init__(self, template: Json, outside: Outside, image: Image, scratch: Path):
        """Read the template; `scratch` is where the volumes are made that live as long as the pod."""
        self.spec = template["spec"]
        (self.container,) = self.spec["containers"]
        self._outside, self._image, self._scratch = outside, image, scratch
        _refuse_unknown("pod", self.spec)
        _refuse_unknown("container", self.container)
        _refuse_unknown("pod's securityContext", self.spec["securityContext"])
        _refuse_unknown("container's securityContext", self.container["securityContext"])

    def command(self) -> list[str]:
        """The whole command line."""
        program = self.container["command"] + self.container.get("args", [])
        variables = environment(self.container, self._outside, {"status.podIP": POD_IP})
        shown = {**self._image.environment(), **variables}
        command = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--as-pid-1"]
        command += [*self._user(), "--hostname", "pod", *self._image.root(), *self._etc(), *self._volumes()]
        if self.container["securityContext"].get("readOnlyRootFilesystem"):
            command += ["--remount-ro", "/dev", "--remount-ro", "/"]
        command.append("--clearenv")
        for name, value in shown.items():
            command += ["--setenv", name, value]
        command += ["--chdir", "/", *self._seccomp(), "--", *(expand(word, variables) for word in program)]
        # The shell opens the filter for bubblewrap, and becomes it.
        return ["/bin/bash", "-c", f'exec "$@" {SECCOMP_FD}<"$0"', str(self._scratch / "seccomp"), *command]

    def _user(self) -> list[str]:
        context = self.spec["securityContext"]
        dropped = self.container["securityContext"].get("capabilities", {}).get("drop", [])
        words = ["--unshare-user", "--uid", str(context["runAsUser"]), "--gid", str(context["runAsGroup"])]
        return words + [word for name in dropped for word in ("--cap-drop", name)]

    def _seccomp(self) -> list[str]:
        profile = self.spec["securityContext"]["seccompProfile"]
        if profile != {"type": "RuntimeDefault"}:
            raise LookupError(f"seccomp profile {profile} is not known here")
        (self._scratch / "seccomp").write_bytes(seccomp.program())
        return ["--seccomp", SECCOMP_FD]

    def _etc(self) -> Iterator[str]:
        """Lay what a kubelet makes there, and users of whom none is the container's."""
        own = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"}
        hosts = {"localhost": "127.0.0.1", "pod": POD_IP, **self._outside.hosts}
        own["hosts"] = "".join(f"{address} {name}\n" for name, address in hosts.items())
        for name, text in own.items():
            file = self._scratch / name
            file.write_text(text)
            yield from ("--ro-bind", str(file), f"/etc/{name}")

    def _volumes(self) -> Iterator[str]:
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        for mount in self.container.get("volumeMounts", []):
            if extra := mount.keys() - {"mountPath", "name", "readOnly"}:
                raise LookupError(f"{extra} of a mount is not known here")
            yield from self._mount(volumes[mount["name"]], mount)

    def _mount(self, volume: Json, mount: Json) -> Sequence[str]:
        ((kind, source),) = ((key, value) for key, value in volume.items() if key != "name")
        path, bind = mount["mountPath"], "--ro-bind" if mount.get("readOnly") else "--bind"
        folder = self._scratch / "volumes" / volume["name"]
        if kind == "persistentVolumeClaim":
            # Without an fsGroup a claim's files keep their owners, and uid 1000 may be none of them.
            ours = "fsGroup" in self.spec["securityContext"]
            return [bind if ours else "--ro-bind", str(self._outside.claims[source["claimName"]]), path]
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "configMap":
            data = self._outside.config_maps[source["name"]]
            for item in source["items"]:
                (folder / item["path"]).write_text(data[item["key"]])
            return ["--ro-bind", str(folder), path]
        if kind != "emptyDir":
            raise LookupError(f"volumes of kind {kind} are not known here")
        if source.get("medium") == "Memory":
            size = str(in_bytes(source["sizeLimit"]))
            return ["--perms", "0777", "--size", size, "--tmpfs", path]
        return [bind, str(folder), path]


def _refuse_unknown(what: str, part: Json) -> None:
    unknown = part.keys() - ACTED_OUT[what] - LEFT_OUT[what]
    if unknown:
        raise LookupError(f"{unknown} of a {what} is not known here: act it out, or name it as left out")
