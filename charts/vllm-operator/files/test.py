"""Asks the operator through its Service, for `helm test`: is it ready, and does it tell its metrics?"""

import sys
import time
import urllib.request

SECONDS = 120
"""Time limit: right after an installation the operator's pods may still be starting."""


def ask(url: str) -> str:
    """What stands at an address."""
    # No proxy stands between pods.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return answer.read().decode()


def main(base: str) -> int:
    """Ask until the operator is ready. Returns the exit code."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            print(f"{base}/readyz: {ask(f'{base}/readyz').strip()}")
            break
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"{base}/readyz: {error}; see `kubectl get pods`, and their logs", file=sys.stderr)
                return 1
            time.sleep(1)
    leads = [line for line in ask(f"{base}/metrics").splitlines() if line.startswith("vllm_operator_leader ")]
    if not leads:
        print(f"{base}/metrics: there is no vllm_operator_leader", file=sys.stderr)
        return 1
    print(f"{base}/metrics: {leads[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
