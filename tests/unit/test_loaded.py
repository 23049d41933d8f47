"""What the operator's process loads: its memory is counted in megabytes, and libraries are most of it."""

import subprocess
import sys

LOOK = "import sys, vllm_operator.controller.operator; print(*{name.split('.')[0] for name in sys.modules})"


def test_neither_the_synchronous_client_nor_what_only_some_need_is_loaded_at_the_start() -> None:
    looked = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    loaded = set(looked.stdout.split())
    assert {"kopf", "kubernetes", "aiohttp"} <= loaded
    assert not {"requests", "oauthlib", "websocket", "httpx"} & loaded
