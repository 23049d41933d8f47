"""`python -m tests.bench`: a storm of servers with edits in it, rest, a restart, edits, a bare replay."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from tests.bench.arena import Arena
from tests.bench.edits import edit_at_rest
from tests.bench.history import History, Version
from tests.bench.replay import Replayed, replay
from tests.bench.result import Result
from tests.bench.storm import rest, restart, storm

LEAST_RATIO = 0.5


def main() -> int:
    """Run the bench; the exit code is 1 when a count or a ratio of DESIGN §10 does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--servers", type=int, default=1000, help="servers that are created at once")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = _run(arguments.servers)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except FileNotFoundError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        arguments.json.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    print()
    for violation in result.violations:
        print(f"BROKEN: {violation}")
    print("outside the budgets" if result.violations else "all counts hold", flush=True)
    return 1 if result.violations else 0


def _run(servers: int) -> Result:
    result, begin = Result(), time.monotonic()
    with Arena(servers) as arena:
        print(f"control plane ready after {arena.plane.seconds_to_ready:.1f} s", flush=True)
        with History(arena.api, "VLLMServer", arena.namespace) as history:
            arena.operator.start()
            try:
                rates = storm(arena, history, result)
                stormy = {name: list(history.versions[name]) for name in arena.names}
                rest(arena, result)
                restart(arena, result)
                edit_at_rest(arena, history, result)
            except Exception:
                print(f"--- the operator's log ends:\n{arena.operator.tail()}", file=sys.stderr)
                raise
        _compare(arena, rates, stormy, result)
    print(f"\n{time.monotonic() - begin:.0f} s in all")
    return result


def _compare(arena: Arena, rates: dict[str, float], stormy: dict[str, list[Version]], result: Result) -> None:
    """Replay twice: on a quiet machine, and with as many pods coming up beside it as in the storm."""
    quiet = replay(arena, "replay-quiet", stormy, replicas=0)
    arena.delete_servers()
    arena.operator.stop()
    busy = replay(arena, "replay-busy", stormy, replicas=None)
    for title, replayed in (("no pods", quiet), ("with the same pods, after the first are gone", busy)):
        figures = _ratios(rates, replayed)
        result.add(f"Replay by a bare client, {title}", figures)
    ratio = rates["writes"] / busy.writes
    if ratio < LEAST_RATIO:
        result.demand([f"the operator writes at {ratio:.2f} of the rate of a bare replay, not {LEAST_RATIO}"])


def _ratios(rates: dict[str, float], replayed: Replayed) -> dict[str, float]:
    return {
        "writes": replayed.sent,
        "servers/s to Jobs made": replayed.jobs,
        "writes/s": replayed.writes,
        "operator/replay, servers/s to Jobs made": rates["jobs"] / replayed.jobs,
        "operator/replay, writes/s until all Jobs were made": rates["writes"] / replayed.writes,
    }


if __name__ == "__main__":
    sys.exit(main())
