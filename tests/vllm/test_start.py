"""Other ways to start: a claim that is not ours to write to, and a pod that is deleted before it is ready."""

from collections.abc import Callable
from pathlib import Path

from tests.harness.processes import wait_until
from tests.vllm.cases import Case
from tests.vllm.pod import Pod

Start = Callable[[Case], Pod]
ARGUMENTS_READ = "non-default args"
"""vLLM 0.32 says this when it has been imported and has read its arguments."""


def snapshot(cache: Path) -> str:
    """The path of the model's files, as a server sees it."""
    (commit,) = (cache / "hub").glob("models--*/snapshots/*")
    return f"/data/{commit.relative_to(cache)}"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_path_on_a_claim_that_others_have_filled(start: Start, cache: Path) -> None:
    """Without a hub id nothing asks a hub, and what is compiled goes where the pod may write."""
    spec = {
        "model": {"name": snapshot(cache), "servedNames": ["tiny"]},
        "cache": {"claimName": "models"},
    }
    pod = start(Case("given", spec))
    with pod:
        pod.wait_ready()
        with pod.client() as client:
            body = {"model": "tiny", "prompt": "The quick", "max_tokens": 4, "ignore_eos": True}
            answer = client.post("/v1/completions", json=body).json()
        assert answer["usage"]["completion_tokens"] == 4
    assert files(pod.outside.claims["models"]) == files(cache)
    assert any(path.is_file() for path in (pod.volumes / "home" / ".cache" / "vllm").rglob("*"))


def test_sigterm_while_it_starts(start: Start) -> None:
    """SIGTERM is lost while vLLM is imported, and ends it while it makes out its configuration.

    Process 1 of a container has no default for a signal: until vLLM has installed a handler, the kernel drops
    it. Once the engine starts vLLM loses it too, gets ready and serves (seen with 0.32.0). So a pod that is
    deleted while it starts may stay until its grace period is over. Nothing that is rendered changes that.
    """
    with start(Case("early", {"engineArgs": {"enforceEager": True}})) as pod:
        pod.terminate()
        wait_until(lambda: ARGUMENTS_READ in pod.log, [pod.process], 600, "it has read its arguments")
        pod.terminate()
        assert pod.wait_end(60) != 0
    assert "Application startup complete" not in pod.log
