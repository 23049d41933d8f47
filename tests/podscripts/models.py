"""Models for tests: their contents say nothing, their names and sizes do."""

import json
import random


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that are the same each time, and nowhere equal."""
    return random.Random(seed).randbytes(size)


SMALL = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": noise(500, 1),
    "model.safetensors": noise(300_000, 2),
}
"""A model of one large file."""

SHARDED = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": noise(1500, 3),
    "chat_template.jinja": b"{{ messages }}",
    "modeling.py": b"import torch",
    "extra/notes.txt": b"notes",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}}
    ).encode(),
    **{f"model-{n}.safetensors": noise(400_000, 10 + n) for n in (1, 2, 3)},
}
"""A model of several."""

NEEDLESS = {"pytorch_model.bin": noise(300_000, 4), "model.onnx": noise(3000, 5), "picture.png": b"png"}
"""What nobody asks for who has the safetensors."""


def size(files: dict[str, bytes]) -> int:
    """Bytes in all."""
    return sum(map(len, files.values()))
