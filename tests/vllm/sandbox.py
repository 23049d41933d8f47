"""From a rendered pod template to a command that runs its container under bubblewrap.

uid and gid, the read-only root, capabilities, volumes, mounts, command, arguments and environment are those
of the template. Anything in it that is not known here is an error: nothing that is rendered goes untried in
silence. Not acted out: where the pod is placed, limits of CPU and memory, groups of files (`fsGroup`), image
pulls. The user is 1000 inside a user namespace only, and outside whoever runs the tests.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """The bubblewrap of one container. `python` is the environment that stands for the image."""

    def __init__(self, template: Json, outside: Outside, python: Path, scratch: Path):
        """Read the template; `scratch` is where the volumes are made that live as long as the pod."""
        self.spec = template["spec"]
        (self.container,) = self.spec["containers"]
        self._outside, self._python, self._scratch = outside, python, scratch
        _refuse_unknown("pod", self.spec)
        _refuse_unknown("container", self.container)
        _refuse_unknown("pod's securityContext", self.spec["securityContext"])
        _refuse_unknown("container's securityContext", self.container["securityContext"])

    def command(self) -> list[str]:
        """The whole command line."""
        program = self.container["command"] + self.container["args"]
        variables = environment(self.container, self._outside, {"status.podIP": POD_IP})
        # PATH is the image's to set.
        shown = {"PATH": f"{self._python}/bin:/usr/local/bin:/usr/bin:/bin"} | variables
        command = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--as-pid-1"]
        command += [*self._user(), "--hostname", "pod", *self._image(), *self._volumes()]
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

    def _image(self) -> Iterator[str]:
        """Bring what an image would: a system without a user 1000, and vLLM with its Python."""
        read_only = ["/usr", "/sys", "/etc/alternatives", "/etc/ssl", "/etc/ld.so.cache"]
        for path in ("/bin", "/lib", "/lib64", "/sbin"):
            if os.path.islink(path):
                yield from ("--symlink", os.readlink(path), path)
            elif os.path.exists(path):
                read_only.append(path)
        own = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"}
        for name, text in (own | {"hosts": f"127.0.0.1 localhost\n{POD_IP} pod\n"}).items():
            file = self._scratch / name
            file.write_text(text)
            yield from ("--ro-bind", str(file), f"/etc/{name}")
        base = Path(sys.base_prefix).resolve()
        for path in [*read_only, str(base), str(self._python)]:
            yield from ("--ro-bind", path, path)
        yield from ("--proc", "/proc", "--dev", "/dev")

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
