"""`python -m tests.demo`: servers on CPUs and on Gaudi from apply to Ready, and what mistakes look like."""

import argparse
import importlib.util
import shutil
import signal
import sys
import time

PACKAGES = ("aiohttp", "fastapi", "httpx", "jinja2", "kopf", "kubernetes", "pydantic", "uvicorn", "yaml")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")

OPENING = """A real kube-apiserver, controller manager and scheduler on loopback; the operator runs under its
own ServiceAccount. Nodes and pods are played by kwok: no container is started, and no model runs.
Where servers would answer requests, a stand-in for vLLM does."""


def main() -> int:
    """Run the demo; the exit code is 0 only if every state that was printed was observed."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running until Ctrl-C")
    arguments = parser.parse_args()
    if problem := _missing():
        print(f"demo: {problem}", file=sys.stderr)
        return 2
    # A plain SIGTERM would end Python without stopping what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(arguments.keep)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130


def _run(keep: bool) -> int:
    # Imported here: without the packages there would be a traceback instead of a remedy.
    from tests.demo.stage import Stage
    from tests.demo.story import Story

    begin = time.monotonic()
    print(OPENING, flush=True)
    stage = Stage()
    try:
        with stage:
            Story(stage.api, stage.screen, stage.states, stage.write_log, stage.standin).tell()
            print(f"\nEvery state above was observed. {time.monotonic() - begin:.0f} s.", flush=True)
            if keep:
                print(
                    f"The cluster runs on; Ctrl-C stops it.\nexport KUBECONFIG={stage.kubeconfig}", flush=True
                )
                signal.pause()
    except Exception as error:
        print(f"\ndemo: FAILED: {error}\n--- the operator's log ends:\n{stage.log}", file=sys.stderr)
        return 1
    return 0


def _missing() -> str:
    """Say what is missing, and what to do about it."""
    packages = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if packages:
        return f"{', '.join(packages)} not installed for {sys.executable}: run `make setup`"
    if shutil.which("openssl") is None:
        return "openssl is not installed: the test cluster's certificates are made with it"
    if shutil.which("curl") is None:
        return "curl is not installed: the LLM microservice is asked with it"
    from tests.harness.binaries import find_binary

    for name in PROGRAMS:
        try:
            find_binary(name)
        except FileNotFoundError as error:
            return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
