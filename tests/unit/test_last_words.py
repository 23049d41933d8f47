"""Of the last words of a real vLLM 0.32 the status shows what was wrong, and where else to look."""

import pytest

from tests.unit.things import claim, deployment, observed, pod, server, target
from vllm_operator.api.reasons import Reason
from vllm_operator.status.lastwords import gist
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

FRAMES = """aunchers/api_server/entry.py", line 61, in build_async_engine_client
    async with build_async_engine_client_from_engine_args(
Traceback (most recent call last):
  File "/opt/venv/lib/python3.12/site-packages/vllm/engine/arg_utils.py", line 1955, in create_model_config
    return ModelConfig(
           ^^^^^^^^^^^^
"""
REFUSED = """pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len"""
MORE = "\n    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
USAGE = """usage: vllm serve [model_tag] [options]
vllm serve: error: argument --max-num-seqs: invalid int value: 'lots'"""
FRONT = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
TRACKER = """
/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: leaked objects
  warnings.warn('resource_tracker: There appear to be %d '
"""
PREFIX = "(EngineCore pid=23) ERROR 11-25 14:19:58 [core.py:1510] "
LOGGED = "\n".join(PREFIX + line for line in [*FRAMES.splitlines(), "ValueError: no memory"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (FRAMES + REFUSED + MORE, REFUSED),
        (USAGE + "\n", USAGE),
        (FRAMES + FRONT + TRACKER, FRONT),
        (LOGGED, PREFIX + "ValueError: no memory"),
        (FRAMES + "KeyError: 'a'\n" + FRAMES + "ValueError: b", "ValueError: b"),
        (FRAMES + "ValueError: a\nINFO: goes on\n", "ValueError: a\nINFO: goes on"),
        # Cut off before it came to the point, or nothing but frames: better all than nothing.
        (FRAMES, FRAMES.strip()),
        ("OOMKilled", "OOMKilled"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_what_is_told(words: str, told: str) -> None:
    assert gist(words) == told


def message(words: str) -> str:
    crashed = pod(ready=False, exit_code=1, last_words=words)
    rolling = deployment(ready_replicas=0, progressing="ReplicaSetUpdated")
    verdict = readiness(View(observed(server(), rolling, claim=claim(), pods=[crashed]), target()))
    assert verdict.reason == Reason.CRASH_LOOPING
    return verdict.message


def test_where_the_cause_stands_above_the_message_says_how_to_find_it() -> None:
    assert message(FRAMES + FRONT) == (
        f"Container ended with exit code 1: {FRONT}. See `kubectl -n ns logs chat-1 --previous | grep Error:`"
    )
    assert message(USAGE).endswith("See `kubectl -n ns logs chat-1 --previous`")


def test_only_a_line_feed_ends_a_line() -> None:
    """Else a character of another's words would be lost."""
    words = "one \x85 two \u2028 three \x0c four"
    assert gist(words) == words


def test_a_cache_that_has_lost_its_model_is_filled_again_on_request() -> None:
    words = "OSError: Cannot find an appropriate cached snapshot folder for the specified revision"
    assert "spec.rollout.refresh" in message(words)
    assert "spec.rollout.refresh" not in message("OSError: no")
