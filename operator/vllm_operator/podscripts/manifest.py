"""The list of a calibration's files with their sizes and hashes, which is written last."""

import contextlib
import hashlib
import json
import os
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any

KIND = "vllm-operator.dev/calibration"
NAME = "manifest.json"
CHUNK = 1 << 20
PACKAGES = ("vllm", "vllm_gaudi", "neural_compressor_pt", "habana_torch_plugin")


def hashed(path: str, *, sync: bool = False) -> tuple[int, str]:
    """Size and SHA-256 of a file; if need be with its content on the disk, and not only on its way there."""
    hasher, size = hashlib.sha256(), 0
    with open(path, "rb") as handle:
        if sync:
            os.fsync(handle.fileno())
        while chunk := handle.read(CHUNK):
            hasher.update(chunk)
            size += len(chunk)
    return size, hasher.hexdigest()


def listed(folder: str, files: list[str], *, sync: bool) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file. Raises OSError."""
    found = {}
    for name in sorted(files):
        size, digest = hashed(os.path.join(folder, name), sync=sync)
        found[name] = {"size": size, "sha256": digest}
    return found


def versions() -> dict[str, str]:
    """Of what the image calibrates with, as far as it says."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def write(path: str, content: dict[str, Any]) -> str:
    """Write a manifest, whole or not at all, and give its SHA-256. Raises OSError."""
    text = json.dumps({"kind": KIND, **content}, indent=1, sort_keys=True, ensure_ascii=False).encode()
    folder = os.path.dirname(path)
    fresh = os.path.join(folder, f".{uuid.uuid4().hex}.{NAME}")
    try:
        with open(fresh, "wb") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(fresh, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
    sync_folder(folder)
    return hashlib.sha256(text).hexdigest()


def sync_folder(folder: str) -> None:
    """Have the names of a folder on the disk; there are network file systems that cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: str) -> tuple[dict[str, Any], str] | None:
    """A manifest of ours and its SHA-256, or None. Raises OSError where one is there and cannot be read."""
    try:
        with open(path, "rb") as handle:
            text = handle.read()
        content = json.loads(text)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        return None
    return content, hashlib.sha256(text).hexdigest()


def holds(folder: str, content: dict[str, Any]) -> bool:
    """Whether every file that a manifest lists is there and is what it was. Raises OSError."""
    try:
        files = {str(name): (said["size"], said["sha256"]) for name, said in content["files"].items()}
        return bool(files) and all(hashed(os.path.join(folder, name)) == said for name, said in files.items())
    except (AttributeError, KeyError, TypeError, FileNotFoundError):
        return False


def summary(folder: str, path: str, content: dict[str, Any], digest: str, *, reused: bool) -> dict[str, Any]:
    """The report of a success."""
    return {
        "output": folder,
        "quantConfig": os.path.join(folder, content["quantConfig"]),
        "generation": content["generation"],
        "worldSize": content["worldSize"],
        "samples": content["samples"],
        "files": len(content["files"]),
        "bytes": sum(said["size"] for said in content["files"].values()),
        "sha256": digest,
        "manifest": path,
        "reused": reused,
    }
