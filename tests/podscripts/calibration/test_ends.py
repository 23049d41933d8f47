"""Ends that come from outside: SIGTERM, SIGKILL, a full disk, two at a time, a tool that does not go."""

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.calibration.conftest import LOWER, Pod
from tests.podscripts.calibration.test_failures import AGAIN, check
from tests.podscripts.conftest import PODSCRIPTS, give
from vllm_operator.api.prefetch import EXIT_ACT
from vllm_operator.podscripts import tool

STEPS = ["begin", "prepare", "measure", "batch 64", "postprocess", "quantize", "end", "unify"]


def members(pod: Pod) -> list[int]:
    """Processes of the tool that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if b"stub.py" in words and os.fsencode(str(pod.place)) in words and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_ended_at_any_step_and_begun_again(pod: Pod, step: str, way: signal.Signals) -> None:
    pod.trouble = {"hangs": step}
    process = pod.start("--unify-to", "1")
    pod.until(process, step)
    process.send_signal(way)
    ended = pod.wait(process) if way == signal.SIGTERM else None
    assert (pod.record / "asked-to-end").exists() == (way == signal.SIGTERM)
    if ended:
        assert (ended.code, ended.report_text) == (143, "")
        assert members(pod) == []
    else:
        process.wait()
        # In a pod everything ends with its first process.
        for number in members(pod):
            os.kill(number, signal.SIGKILL)
    assert not (pod.folder / "manifest.json").exists()
    left = pod.folder.exists()
    pod.trouble = {}
    again = pod.run("--unify-to", "1").done
    assert (again.reused, again.world_size, again.samples) == (False, 1, 96)
    assert len([path for path in pod.output.iterdir() if path.name != LOWER]) == left


def test_the_pod_waits_until_what_does_not_listen_is_killed() -> None:
    template = (PODSCRIPTS.parent / "desired/templates/job.yaml.j2").read_text()
    found = re.search(r"terminationGracePeriodSeconds: (\d+)\n", template)
    assert found
    assert int(found[1]) >= tool.GRACE_SECONDS + 10


def test_a_tool_that_does_not_listen_is_killed(pod: Pod) -> None:
    source = pod.place / "mounted/podscripts/tool.py"
    source.write_text(source.read_text().replace("GRACE_SECONDS = 20", "GRACE_SECONDS = 1"))
    pod.trouble = {"hangs": "measure", "deaf": True}
    process = pod.start()
    pod.until(process, "measure")
    process.terminate()
    assert pod.wait(process).code == 143
    assert members(pod) == []


@pytest.mark.parametrize("what", ["sleep 600", "yes still there"])
def test_what_a_tool_leaves_behind_holds_no_cards(pod: Pod, what: str) -> None:
    scripts = pod.place / "image/calibration"
    text = (scripts / "calibrate_model.sh").read_text()
    (scripts / "calibrate_model.sh").write_text(
        text.replace("exec python3 stub.py", f"exec -a {pod.place}/stub.py {what} &\npython3 stub.py")
    )
    source = pod.place / "mounted/podscripts/tool.py"
    source.write_text(source.read_text().replace("AFTER_SECONDS = 5", "AFTER_SECONDS = 1"))
    process = pod.start()
    assert process.stdout
    watch = threading.Timer(30, process.kill)
    watch.start()
    for _ in process.stdout:  # a reader that keeps nothing: it may say a lot
        pass
    watch.cancel()
    assert pod.wait(process).done.samples == 96
    assert members(pod) == []


def test_two_at_a_time_measure_once(pod: Pod) -> None:
    pod.trouble = {"hangs": "batch 64"}
    first = pod.start()
    pod.until(first, "batch 64")
    second = pod.start()
    assert second.stderr
    assert b"Waiting for it" in second.stderr.readline()
    first.kill()
    for number in members(pod):
        os.kill(number, signal.SIGKILL)
    (pod.record / "reached").unlink()
    # The scripts were copied when the second one had the folder for itself.
    pod.until(second, "batch 64")
    assert len(pod.calls()) == 2


def small(pod: Pod, volume: Callable[[int], Path], megabytes: int) -> Path:
    path = volume(megabytes)
    pod.output = path / "inc/f1"
    return path


def test_a_volume_that_fills_up_while_the_tool_ignores_it(pod: Pod, volume: Callable[[int], Path]) -> None:
    small(pod, volume, 2)
    pod.trouble = {"size": 3 << 20}
    check(pod.run(), "CacheFull", EXIT_ACT, "inc_output_hooks_maxabs_", "more space")
    for file in pod.folder.rglob("*.npz"):
        file.unlink()
    pod.trouble = {}
    assert not pod.run().done.reused


def test_a_tool_that_says_that_the_volume_is_full(pod: Pod, volume: Callable[[int], Path]) -> None:
    small(pod, volume, 2)
    words = "OSError: [Errno 28] No space left on device"
    pod.trouble = {"exits": {"measure": 1}, "says": {"measure": [words]}}
    check(pod.run(), "CacheFull", EXIT_ACT, words)


def test_a_volume_that_is_full_when_the_list_is_written(pod: Pod, volume: Callable[[int], Path]) -> None:
    path = small(pod, volume, 2)
    source = pod.place / "mounted/podscripts/manifest.py"
    source.write_text(
        source.read_text().replace(
            '    fresh = os.path.join(folder, f".{',
            f'    with open("{path}/filler", "wb") as filler:\n'
            "        import contextlib\n"
            "        with contextlib.suppress(OSError):\n"
            "            while True: filler.write(bytes(4096)); filler.flush()\n"
            '    fresh = os.path.join(folder, f".{',
        )
    )
    check(pod.run(), "CacheFull", EXIT_ACT, "No space left on device")
    assert not (pod.folder / "manifest.json").exists()
    assert not list(pod.folder.glob(".*"))


def test_a_work_folder_that_is_too_small_is_not_the_cache(pod: Pod, volume: Callable[[int], Path]) -> None:
    work = volume(1)
    dataset = pod.place / "data/datasets/staged.pkl"
    dataset.write_bytes(bytes(2 << 20))
    give(pod.place / "data")
    check(pod.run(work=str(work)), "CalibrationFailed", EXIT_ACT, "is not the cache", str(work))
    assert not pod.calls()


def test_a_cache_that_cannot_be_written(
    pod: Pod, volume: Callable[[int], Path], read_only: Callable[[Path], None]
) -> None:
    path = small(pod, volume, 2)
    read_only(path)
    check(pod.run(), "CacheNotReadable", EXIT_ACT, "mounted read-only")
    assert not pod.calls()


def test_an_image_that_cannot_be_written(
    pod: Pod, volume: Callable[[int], Path], read_only: Callable[[Path], None]
) -> None:
    """A read-only root: only the work folder and the cache take anything."""
    image = volume(1)
    for file in (pod.place / "image/calibration").iterdir():
        (image / file.name).write_bytes(file.read_bytes())
    (image / "trouble.json").write_text(f'{{"record": "{pod.record}"}}')
    image.chmod(0o555)
    read_only(image)
    (pod.place / "image/calibration/trouble.json").unlink(missing_ok=True)
    assert pod.run(scripts=str(image)).done.samples == 96
    # A second container has the folder of the first one before it.
    assert pod.run(scripts=str(image), sample_limit="32").code != AGAIN
