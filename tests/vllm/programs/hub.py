"""Makes a tiny random Llama and lays it out as a hub cache: HUB REPOSITORY.

Run it with the Python of the vLLM environment. Offline, a repository's id and branch are found by nothing
but this layout: `refs/BRANCH` holds a commit, and `snapshots/COMMIT` links into `blobs`.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 32768
TEXT = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs. "
CHAT = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}<s>assistant: "


def save_tokenizer(folder: Path) -> int:
    """Train a small byte-level tokenizer, and return the size of its vocabulary."""
    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator([TEXT] * 50, vocab_size=512, min_frequency=1, special_tokens=["<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = CHAT
    tokenizer.model_max_length = CONTEXT
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def save_model(folder: Path, vocabulary: int) -> None:
    """Two layers of noise, the same every time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=max(512, vocabulary),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def lay_out(files: Path, repository: Path) -> None:
    """Move files into a repository of a hub cache."""
    names = sorted(path.name for path in files.iterdir())
    digests = {name: hashlib.sha256((files / name).read_bytes()).hexdigest() for name in names}
    commit = hashlib.sha1("".join(digests.values()).encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    for name, digest in digests.items():
        (repository / "blobs" / digest).write_bytes((files / name).read_bytes())
        (snapshot / name).symlink_to(Path("../../blobs") / digest)
    (repository / "refs" / "main").write_text(commit)


def main(hub: str, name: str) -> None:
    """Make the model."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_model(folder, save_tokenizer(folder))
        lay_out(folder, Path(hub) / f"models--{name.replace('/', '--')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
