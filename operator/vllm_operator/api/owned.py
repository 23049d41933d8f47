"""Flags and variables that the operator sets itself, and how to recognise every spelling of them.

vLLM's parser is an argparse parser that also takes `_` for `-` and `--flag.key value`
(vllm 0.32.0, utils/argparse_utils.py, FlexibleArgumentParser): a flag has many spellings. The tests
build a parser from each version's own flag table and try all of them.
"""

import re

OWNED_FLAGS = (
    "--api-key",
    "--config",
    "--data-parallel-size",
    "--decode-context-parallel-size",
    "--download-dir",
    "--headless",
    "--help",
    "--hf-token",
    "--host",
    "--kv-cache-dtype",
    "--model",
    "--no-trust-remote-code",
    "--pipeline-parallel-size",
    "--port",
    "--prefill-context-parallel-size",
    "--quantization",
    "--revision",
    "--root-path",
    "--served-model-name",
    "--shutdown-timeout",
    "--tensor-parallel-size",
    "--trust-remote-code",
    "--uds",
    # Short forms: vllm 0.32.0, engine/arg_utils.py, add_cli_args.
    "-dcp",
    "-dp",
    "-h",
    "-pcp",
    "-pp",
    "-q",
    "-tp",
)
"""Flags that `extraArgs` may not hold, in any spelling."""

OWNED_STEMS = ("--data-parallel-", "--ssl-", "-dp", "-h", "-q")
"""Whatever begins with one of these is owned: families of flags, and short forms that take a value
without a space (`-qfp8`)."""

FREE_FLAGS = ("-dc",)
"""Flags of the parser that an owned one begins with: alone they are themselves, and free."""

BUCKETS = ("PROMPT_BS", "PROMPT_QUERY", "PROMPT_CTX", "DECODE_BS", "DECODE_BLOCK")
"""Kinds of buckets, as the variables of vllm-gaudi 0.26 name them."""

OWNED_VARIABLES = (
    "DO_NOT_TRACK",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    # The device plugin decides which cards a pod sees; a variable would show it those of others.
    "HABANA_LOGS",
    "HABANA_VISIBLE_DEVICES",
    "HABANA_VISIBLE_MODULES",
    "HOME",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "LOGNAME",
    "OMPI_MCA_btl_vader_single_copy_mechanism",
    "OMP_NUM_THREADS",
    "PT_HPU_ENABLE_LAZY_COLLECTIVES",
    "PT_HPU_RECIPE_CACHE_CONFIG",
    "PYTHONUNBUFFERED",
    "QUANT_CONFIG",
    "TMPDIR",
    "TRANSFORMERS_OFFLINE",
    "USER",
    "VLLM_API_KEY",
    "VLLM_BUCKETING_STRATEGY",
    "VLLM_CACHE_ROOT",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_CPU_NUM_OF_RESERVED_CPU",
    "VLLM_CPU_OMP_THREADS_BIND",
    *(f"VLLM_{kind}_BUCKET_{bound}" for kind in BUCKETS for bound in ("MIN", "STEP", "MAX")),
    "VLLM_DEVELOPER_MODE",
    "VLLM_ENGINE_READY_TIMEOUT_S",
    "VLLM_HOST_IP",
    "VLLM_NO_USAGE_STATS",
    "VLLM_PORT",
    "VLLM_SKIP_WARMUP",
    "XDG_CACHE_HOME",
)
"""Environment variables that `extraEnv` may not name: each has a field, or would undo what a field says."""

_ALL = "".join(f";{flag}" for flag in OWNED_FLAGS)
_STEMS = "[" + ", ".join(f"'{stem}'" for stem in OWNED_STEMS) + "]"

# vLLM cuts `-O` off and reads what follows as a word of its own: `-O--api-key.x=1` sets --api-key.
_LEVEL = "^-O(=?[0-9a-z]+)?$"

# A word is the prefix of an owned flag exactly when `;word` occurs in `;--one;--two`. argparse takes any
# prefix that fits one flag only; prefixes that fit several are refused too, as argparse would.
OWNED_FLAG_CEL = (
    f"!self.startsWith('-') || self.split('=')[0].split('.')[0] in {list(FREE_FLAGS)} || !("
    f"'{_ALL}'.contains(';' + self.split('=')[0].split('.')[0].replace('_', '-'))"
    f" || {_STEMS}.exists(s, self.replace('_', '-').startsWith(s))"
    f" || (self.startsWith('-O') && !self.matches('{_LEVEL}')))"
)
"""CEL: the word is no spelling of an owned flag."""

OWNED_VARIABLE_CEL = "!(self in [" + ", ".join(f"'{name}'" for name in OWNED_VARIABLES) + "])"
"""CEL: the name is not that of an owned variable."""


def flag_name(argument: str) -> str:
    """The flag that a word names, as vLLM's parser reads it: without value and key, `_` as `-`."""
    return argument.split("=", 1)[0].split(".", 1)[0].replace("_", "-")


def is_owned_flag(argument: str) -> bool:
    """Whether a word of an argument list is a spelling of a flag that the operator sets itself."""
    if not argument.startswith("-") or flag_name(argument) in FREE_FLAGS:
        return False
    if argument.startswith("-O") and not re.fullmatch(_LEVEL, argument, re.ASCII):
        return True
    return f";{flag_name(argument)}" in _ALL or argument.replace("_", "-").startswith(OWNED_STEMS)
