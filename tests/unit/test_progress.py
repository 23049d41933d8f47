"""How far a start has come, in the words of each server."""

import pytest

from vllm_operator.api.seen import Progress
from vllm_operator.status.progress import read

FORK = (
    "INFO 09-05 12:17:56 habana_model_runner.py:940] [Warmup][Decode][1023/1024] batch_size:2 seq_len:16 "
    "free_mem:5.414 GiB"
)
PLUGIN = "(EngineCore_DP0 pid=545) [Warmup][Prompt][1/36] batch_size:1 query_len:128 free_mem:79.16 GiB"
BAR = "Prompt warmup processing: :   8%|8         | 3/36 [00:10<01:50, 3.1s/item, 2/36]"
SHARDS = "(Worker_TP0 pid=12) Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01]"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (FORK, Progress("Decode", 1023, 1024)),
        (PLUGIN, Progress("Prompt", 1, 36)),
        ("[Warmup][Graph/Multimodal(image)][1/3] batch_size:1", Progress("Graph/Multimodal(image)", 1, 3)),
        (BAR, Progress("Prompt", 3, 36)),
        (SHARDS, Progress("Loading", 2, 4)),
        ("prefetch: download 5/140000000000", Progress("download", 5, 140_000_000_000)),
        ("prefetch: resolve", Progress("resolve", 0, 0)),
        ("prefetch: dataset", Progress("dataset", 0, 0)),
        ("calibrate: measure 32/512 ETA 7", Progress("measure", 32, 512, 7)),
        ("calibrate: quantize", Progress("quantize", 0, 0)),
    ],
    ids=str,
)
def test_every_format(log: str, found: Progress) -> None:
    assert read(log) == found
    assert read(f"INFO something else\n{log}\nINFO something after it") == found


def test_the_last_line_counts_also_of_a_bar_that_is_redrawn() -> None:
    later = BAR.replace("3/36", "9/36", 1)
    assert read(f"{SHARDS}\r{BAR}\r{later}") == Progress("Prompt", 9, 36)
    assert read(f"{PLUGIN}\n{FORK}") == Progress("Decode", 1023, 1024)
    assert read(f"calibrate: measure\n{SHARDS}\rcalibrate: measure 9/10") == Progress("measure", 9, 10)


@pytest.mark.parametrize(
    "log", ["", "INFO: ready", "[Warmup][Prompt] 1/2", "Warmup finished in 49 secs", "1/2"]
)
def test_other_lines_say_nothing(log: str) -> None:
    assert read(log) is None
