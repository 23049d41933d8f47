"""Which files are taken."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest

from vllm_operator import podscripts
from vllm_operator.api.reasons import Reason
from vllm_operator.podscripts.files import CHEAP, File, needed

SOURCES = sorted(Path(podscripts.__file__).parent.glob("*.py"))

REST = [
    *(
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "chat_template.jinja",
        "modeling_x.py",
        "README.md",
    ),
    *("additional_chat_templates/tool.jinja", "vocab.txt", "merges.txt", "tekken.json", "params.json"),
    *("hf_quant_config.json", "1_Pooling/config.json", "original/tokenizer.model", "x.npz"),
]
NEVER = [
    *("onnx/model.onnx", "model.onnx_data", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "a.png"),
    *("optimizer.pt", "training_args.bin", "eval.parquet", "code.tar.gz"),
]

CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "safetensors and bin": ("auto", ["model.safetensors"], ["pytorch_model.bin", "model.pth", "m.gguf"]),
    "shards": ("auto", ["model-00001-of-00002.safetensors"], ["pytorch_model-00001-of-00002.bin"]),
    "bin only": ("auto", ["pytorch_model.bin"], ["consolidated.00.pth"]),
    "pt only": ("auto", ["weights.pt"], ["x.pth"]),
    # Llama keeps its weights once more in original/, gpt-oss in original/ and metal/.
    "copies": (
        "auto",
        ["model.safetensors"],
        ["original/consolidated.00.pth", "original/model.safetensors", "metal/model.bin", "openvino/x.bin"],
    ),
    "nothing but a copy": ("auto", ["original/consolidated.00.pth", "original/consolidated.00.pt"], []),
    "gguf only": ("auto", ["model-Q4_K_M.gguf", "model-Q8_0.gguf"], []),
    # vllm/model_executor/models/roberta.py: BGE-M3.
    "parts beside safetensors": ("auto", ["model.safetensors", "colbert_linear.pt", "sparse_linear.pt"], []),
    "parts beside bin": ("auto", ["pytorch_model.bin", "colbert_linear.pt"], ["optimizer.pt"]),
    # vllm/model_executor/models/qwen3_dflash.py
    "mask embedding": ("auto", ["model.safetensors", "mask_embedding.pt"], []),
    # vllm/model_executor/models/adapters.py, jina.py, kimi_audio.py
    "folders": (
        "auto",
        [
            "pytorch_model.bin",
            "2_Dense/model.safetensors",
            "3_Dense/pytorch_model.bin",
            "adapters/x/adapter_model.safetensors",
            "whisper-large-v3/model.safetensors",
        ],
        ["2_Dense/pytorch_model.bin"],
    ),
    "mistral, auto": ("auto", ["model-1.safetensors", "consolidated.safetensors"], ["pytorch_model.bin"]),
    "mistral": ("mistral", ["consolidated.safetensors"], ["model-1.safetensors"]),
    "mistral's own only": ("mistral", ["consolidated.safetensors"], []),
    "mistral without": ("mistral", ["model-1.safetensors"], []),
    "hf": ("hf", ["model-1.safetensors"], ["consolidated.safetensors"]),
    "hf of mistral's own": ("safetensors", ["consolidated.safetensors"], []),
    "all": ("pt", ["model.safetensors", "pytorch_model.bin", "model.pt"], []),
    "unknown format": ("sharded_state", ["model-rank-0-part-0.safetensors", "x.bin", "original/x.pth"], []),
}


@pytest.mark.parametrize("case", CASES)
def test_weights(case: str) -> None:
    load_format, taken, left = CASES[case]
    assert needed([*REST, *NEVER, *taken, *left], load_format) == {*REST, *taken}


def test_code() -> None:
    names = ["modeling.py", "sub/x.py", "config.json", "model.safetensors", "README.md", "model.onnx"]
    assert needed(names, "code") == {"modeling.py", "sub/x.py", "config.json"}


def test_a_large_file_is_known_by_its_size(tmp_path: Path) -> None:
    file, path = File("model.safetensors", CHEAP + 1, "0" * 64), tmp_path / "blob"
    for size, there in ((CHEAP + 1, True), (CHEAP, False), (CHEAP + 2, False), (0, False)):
        path.touch()
        os.truncate(path, size)
        assert file.is_at(str(path)) is there
    assert not file.is_at(str(path / "below a file"))


LAZY = {"frames.py": {"pandas", "pyarrow"}, "tasks.py": {"lm_eval"}}
"""What only a quantization's image needs, and only some of its datasets."""


def imported(file: Path, siblings: bool) -> set[str]:
    """What a program imports: of others, or of its siblings."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 10))):
        if isinstance(node, ast.Import) and not siblings:
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and bool(node.level) == siblings:
            assert node.level < 2
            found |= {str(node.module).split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.name))
def test_programs_need_nothing_that_an_image_has_not(file: Path) -> None:
    """Python 3.10, its standard library, huggingface_hub, and one another."""
    allowed = {"huggingface_hub", *LAZY.get(file.name, ())}
    assert imported(file, siblings=False) <= allowed | sys.stdlib_module_names
    assert all((file.parent / f"{name}.py").exists() for name in imported(file, siblings=True))


def closure(program: Path) -> set[Path]:
    """A program, and all of ours that it imports."""
    seen: set[Path] = set()
    todo = {program}
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= {file.with_name(f"{name}.py") for name in imported(file, siblings=True)} - seen
    return seen


def reasons(*programs: Path) -> set[str]:
    """Every reason that some programs may give."""
    text = "".join(file.read_text() for program in programs for file in closure(program))
    return set(re.findall(r'"(\w+)"', text)) & {reason.value for reason in Reason}


@pytest.mark.parametrize("program", ["calibrate", "verify"])
def test_what_runs_without_a_network_needs_the_standard_library_alone(program: str) -> None:
    files = closure(SOURCES[0].with_name(f"{program}.py"))
    for file in files:
        assert imported(file, siblings=False) <= sys.stdlib_module_names, file.name
    assert len(files) == 1 or program != "verify"
