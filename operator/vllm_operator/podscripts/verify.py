"""Looks whether the files of a calibration are those that a server's record names, before the server starts.

Runs in an init container as `python3 -c SOURCE`, alone: nothing of ours beside it, only the standard library.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from typing import Any, BinaryIO

EXIT_ACT = 78
REMEDY = "Bring the files back, or calibrate anew: delete the FP8Quantization and apply it again."


def digest(handle: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    hasher = hashlib.sha256()
    while chunk := handle.read(1 << 20):
        hasher.update(chunk)
    return handle.tell(), hasher.hexdigest()


def wrong(folder: str, manifest: str, sha256: str) -> str:
    """What is not as it was; empty if all is."""
    path = manifest
    try:
        with open(path, "rb") as handle:
            text = handle.read()
        if hashlib.sha256(text).hexdigest() != sha256.lower():
            return f"{path} is another manifest than the one of this revision"
        files: dict[str, Any] = json.loads(text)["files"]
        if not files:
            return f"{path} lists no files"
        for name, said in files.items():
            path = os.path.join(folder, name)
            with open(path, "rb") as handle:
                size, found = digest(handle)
            if size != said["size"]:
                return f"{path} has {size} bytes, not {said['size']}"
            if found != said["sha256"]:
                return f"{path} has another content"
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        return f"{path} cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    return ""


def main(arguments: list[str]) -> int:
    """Compare, say what differs, and return the exit code."""
    parser = argparse.ArgumentParser("verify")
    parser.add_argument("--folder", required=True, help="that of the quantization's files")
    parser.add_argument("--manifest", help="list of its files; unset: manifest.json in the folder")
    parser.add_argument("--sha256", required=True, help="of the manifest")
    parser.add_argument("--report", default="/dev/termination-log", help="file for the report")
    options = parser.parse_args(arguments)
    manifest = options.manifest or os.path.join(options.folder, "manifest.json")
    if not (found := wrong(options.folder, manifest, options.sha256)):
        return 0
    text = json.dumps({"reason": "ArtifactsChanged", "message": f"{found}. {REMEDY}"})
    print(text, file=sys.stderr)
    with contextlib.suppress(OSError), open(options.report, "w", encoding="utf-8") as handle:
        handle.write(text)
    return EXIT_ACT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
