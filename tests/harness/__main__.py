"""Starts a control plane for trying things by hand, and waits for Ctrl-C."""

import argparse
import signal

from tests.harness.binaries import find_binary
from tests.harness.controlplane import ControlPlane


def main() -> None:
    """Start a control plane, say how to reach it, and stop it on SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    parser.add_argument("--nodes", type=int, default=2, help="fake nodes with 8 accelerators each")
    parser.add_argument("--volumes", type=int, default=20, help="PersistentVolumes of each storage class")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ControlPlane(nodes=arguments.nodes, volumes=arguments.volumes) as plane:
            print(f"ready after {plane.seconds_to_ready:.1f} s; Ctrl-C stops it", flush=True)
            print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
            print(f"{find_binary('kubectl')} --kubeconfig {plane.kubeconfig} get nodes", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
