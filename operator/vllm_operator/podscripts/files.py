"""Which files of a repository vLLM may ask for, and how the content of one is known."""

import hashlib
import os
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

CHEAP = 32 << 20
"""Files up to this size are hashed whenever they are looked at; larger ones while they are downloaded."""

NEVER = (
    *("*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ckpt", "*.ot", "*.tflite", "*.mlmodel", "*.llamafile"),
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.mp3", "*.mp4", "*.wav", "*.flac"),
    *("*.parquet", "*.arrow", "*.ipynb", "*.zip", "*.tar", "*.tar.*"),
    *("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt"),
)
"""Formats of other programs, pictures and archives. vLLM 0.32 leaves them out too: _WEIGHT_FILE_PATTERNS in
transformers_utils/repo_utils.py, filter_files_not_needed_for_inference in model_loader/weight_utils.py."""
WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
"""What the default loader reads, in the order in which it chooses (model_loader/default_loader.py)."""
OTHER_WEIGHTS = ("*.pth", "*.gguf")
DUPLICATES = ("*.bin", "model*.pt", "pytorch_model*.pt", "consolidated*.pt")
"""Weights that safetensors beside them make needless. Not every `*.pt`: BGE-M3 needs colbert_linear.pt."""
COPIES = {"original", "metal", "onnx", "openvino", "coreml"}
"""Folders in which repositories keep their weights once more, for other programs."""
CHOOSING = {"auto", "hf", "safetensors", "fastsafetensors", "instanttensor", "runai_streamer", "mistral"}
"""Load formats that read safetensors where there are any. With another one all weights are taken."""
CODE = "code"
"""Takes the place of a load format where a repository is wanted for its code only."""


class File(NamedTuple):
    """A file of a commit. `oid` names its content: SHA-256 (LFS) or git's SHA-1; empty if unknown."""

    name: str
    size: int
    oid: str

    def hasher(self) -> Any:
        """What computes the oid from the content; None for an oid of another kind."""
        if len(self.oid) == 64:
            return hashlib.sha256()
        if len(self.oid) == 40:
            return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        return None

    def is_at(self, path: str) -> bool:
        """Whether it is there, of the right size and, if that is cheap, of the right content.

        Raises OSError when it is there and cannot be read.
        """
        cheap = self.size <= CHEAP
        try:
            with open(path, "rb") as handle:
                if os.fstat(handle.fileno()).st_size != self.size:
                    return False
                content = handle.read(-1 if cheap else 1)
        except (FileNotFoundError, NotADirectoryError):
            return False
        hasher = self.hasher()
        if not cheap or hasher is None:
            return True
        hasher.update(content)
        return bool(hasher.hexdigest() == self.oid)


def needed(names: Collection[str], load_format: str) -> set[str]:
    """All but what vLLM reads in no repository, and weights that are there in a better form as well.

    When in doubt a file is taken: nothing can be fetched later.
    """
    rest = {name for name in names if not _like(name, NEVER)}
    if load_format == CODE:
        return {name for name in rest if _like(name, ("*.py", "*.json"))}
    weights = {name for name in rest if _like(name, (*WEIGHTS, *OTHER_WEIGHTS))}
    chosen = {name for name in weights if _like(name, WEIGHTS) and not COPIES & set(name.split("/")[:-1])}
    if load_format not in CHOOSING or not chosen:
        return rest
    tensors = {name for name in chosen if name.endswith(".safetensors")}
    folders = {os.path.dirname(name) for name in tensors}
    chosen -= {name for name in chosen if os.path.dirname(name) in folders and _like(name, DUPLICATES)}
    return rest - weights | chosen - _other_half(tensors, load_format)


def _other_half(tensors: set[str], load_format: str) -> set[str]:
    """Mistral's repositories hold the weights twice; which ones `auto` reads depends on vLLM's version."""
    at_root = {name for name in tensors if "/" not in name}
    mistral = {name for name in at_root if _like(name, ["consolidated*"])}
    if load_format == "auto" or mistral in (set(), at_root):
        return set()
    return at_root - mistral if load_format == "mistral" else mistral


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(os.path.basename(name), pattern) for pattern in patterns)
