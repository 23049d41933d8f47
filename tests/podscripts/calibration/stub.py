"""Plays the calibration tools of a Gaudi image: their arguments, markers, layouts and their ways to go wrong.

Runs by itself, in the system's Python. Layout, JSON and markers are those of vllm-gaudi's calibrate_model.sh
and steps (091bbadd), and of the vllm-gaudi-calibrate that replaces them. What is to go wrong stands in
trouble.json beside it. As Intel Neural Compressor does, it ignores errors when it writes.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
import zipfile
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
TROUBLE: dict[str, Any] = {}
with (
    contextlib.suppress(FileNotFoundError),
    open(os.path.join(HERE, "trouble.json"), encoding="utf-8") as handle,
):
    TROUBLE = json.load(handle)
TRACE = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n    f()\n'
Options = dict[str, Any]


def say(text: str, end: str = "\n") -> None:
    """As the tools do, to be read as it comes."""
    print(text, end=end, flush=True)


def record(options: Options) -> None:
    """What it was called with."""
    dataset = options.get("-d")
    told = {
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "model": os.path.realpath(options["model"]),
        "dataset": hashlib.sha256(open(dataset, "rb").read()).hexdigest() if dataset else None,  # noqa: SIM115
    }
    with open(os.path.join(TROUBLE["record"], f"run-{time.monotonic_ns()}"), "w", encoding="utf-8") as out:
        json.dump(told, out)


def put(path: str, content: Any) -> None:
    """Write it, if that is possible."""
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if path.endswith(".npz"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("arr_0.npy", content)
        else:
            with open(path, "w", encoding="utf-8") as out:
                json.dump(content, out)


def end(*_: Any) -> None:
    """Say that it was asked to."""
    with open(os.path.join(TROUBLE["record"], "asked-to-end"), "w", encoding="utf-8"):
        sys.exit(1)


def at(step: str) -> None:
    """What goes wrong at the beginning of a step."""
    if TROUBLE.get("hangs") == step:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if TROUBLE.get("deaf") else end)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(TROUBLE["record"], "reached"))
    with open(os.path.join(TROUBLE["record"], "reached"), "w", encoding="utf-8") as out:
        out.write(step)
    if TROUBLE.get("pauses") == step:  # so that what comes now is not read with what came before
        time.sleep(1)
    for line in TROUBLE.get("says", {}).get(step, []):
        say(line)
    say(TROUBLE.get("mutters", {}).get(step, ""), end="")
    while TROUBLE.get("hangs") == step:
        time.sleep(0.05)
    if step in TROUBLE.get("exits", {}):
        sys.exit(TROUBLE["exits"][step])
    if TROUBLE.get("kills") == step:
        os.kill(os.getpid(), signal.SIGKILL)


def stats(folder: str, world: int, ranks: range, *, scales: bool) -> None:
    """The files of measurements, or of scales."""
    kind = "MAXABS_HW_" if scales else ""
    for rank in ranks:
        if [rank, scales] in TROUBLE.get("skips", []):
            continue
        stem = os.path.join(folder, f"inc_output_hooks_maxabs_{kind}{rank}_{world}")
        node = {"inputs": [0.5] if scales else [[[1.5]]], "params": {"weight": 0.1 if scales else [[0.2]]}}
        content = {
            "GlobalRank": None,
            "LocalRank": rank if world > 1 else -1,
            "Mode": TROUBLE.get("mode") or ("Scale" if scales else "DynamicRange"),
            "Nodes": {} if TROUBLE.get("no nodes") == rank else {"model.layers.0.mlp": node},
        }
        put(f"{stem}.json", content)
        put(f"{stem}.npz", "x" * TROUBLE.get("size", 100))
        if not scales:
            put(f"{stem}_mod_list.json", ["model.layers.0.mlp"])


def damage(folder: str) -> None:
    """What is wrong with files in the end."""
    for name, content in TROUBLE.get("writes", {}).items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            out.write(content)


def configs(output: str, name: str, device: str) -> str:
    """Both configurations, and the folder of the measurements."""
    folder = os.path.join(output, name, device)
    dump = TROUBLE.get("dump") or os.path.join(folder, "inc_output")
    lists: Options = {"allowlist": {"types": [], "names": []}, "blocklist": {"types": [], "names": []}}
    common = {"observer": "maxabs", **lists, "dump_stats_path": dump}
    put(
        os.path.join(output, name, f"maxabs_measure_{device}.json"),
        {"method": "HOOKS", "mode": "MEASURE", "quantize_weight": False, **common},
    )
    quant = {"mode": "QUANTIZE", "scale_method": "maxabs_hw", **common}
    put(os.path.join(output, name, f"maxabs_quant_{device}.json"), quant)
    return folder


def script(arguments: list[str]) -> None:
    """calibrate_model.sh."""
    options: Options = {"-b": "32", "-t": "1", "-l": "1000"}
    words = iter(arguments)
    for word in words:
        options[word] = True if word in ("-u", "-e") else next(words)
    options["model"] = options["-m"]
    record(options)
    at("begin")
    if not options["-d"].endswith(".pkl"):
        sys.exit("not a .pkl")
    world, device = int(options["-t"]), TROUBLE.get("device", "g2")
    say("Step 0 - detecting used device type g2 g3")
    if device not in ("g2", "g3"):
        say(f"Invalid device type: {device}. Allowed devices: g2 g3")
        sys.exit(1)
    say(f"Detected device type: {device}\nStep 0 done")
    name = os.path.basename(options["-m"].rstrip("/")).lower()
    folder = configs(os.path.realpath(options["-o"]), name, device)
    say("\n1/4 Preparing calibration dataset")
    at("prepare")
    put(os.path.join(os.getcwd(), f"{name}-calibration-dataset.pkl"), [])
    say("Step 1/4 done\n\n2/4 Measuring scales")
    at("measure")
    samples(int(options["-b"]), *TROUBLE.get("samples", [int(options["-l"])] * 2))
    stats(folder, world, range(world), scales=False)
    say("Step 2/4 done\n\n3/4 Postprocessing scales")
    at("postprocess")
    say("Step 3/4 done\n\n4/4 Quantize scales")
    at("quantize")
    stats(folder, world, range(world), scales=True)
    damage(os.path.dirname(folder))
    say("Calibration process done")
    at("end")


def samples(batch: int, done: int, total: int) -> None:
    """The lines of step 2, with a bar that is redrawn."""
    for index in range(batch, done, batch):
        say(f"\rProcessed prompts: {100 * index // total}%|## | {index}/{total}", end="")
        say(f"\nBatch finished: {index}/{total} samples done; ETA: {(total - index) // batch} min")
        at(f"batch {index}")
    if done:
        say(f"Last batch finished: {done}/{total} samples done")


def command(arguments: list[str]) -> None:
    """vllm-gaudi-calibrate run."""
    if arguments[:1] != ["run"]:
        sys.exit(2)
    options: Options = {
        "--tp": "1",
        "--limit": "512",
        "--tasks": ["pile_10k", "gsm8k"],
        "model": arguments[1],
    }
    words, word = iter(arguments[2:]), None
    while (word := next(words, None)) is not None:
        if word == "--tasks":
            options[word] = list(words)
        else:
            flag = word in ("--expert-parallel", "--trust-remote-code")
            options[word] = True if flag else next(words)
    record(options)
    at("begin")
    world, device = int(options["--tp"]), TROUBLE.get("device", "g2")
    folder = configs(options["-o"], os.path.basename(options["model"]).lower(), device)
    say(f"INFO 11-25 10:00:00 [orchestrator.py:350] Model x: text, preset default, device {device}")
    say("INFO 11-25 10:00:00 [orchestrator.py:126] Starting measure phase, log: measure.log")
    at("measure")
    limit = int(options["--limit"])
    for _ in options["--tasks"]:
        for done in (0, limit // 2, TROUBLE.get("samples", [limit])[0]):
            say(
                f"\rRunning generate_until requests: {100 * done // limit:3}%|##  | {done}/{limit} [00:01]",
                "",
            )
    say("")
    stats(folder, world, range(world), scales=False)
    say("INFO 11-25 10:00:00 [orchestrator.py:126] Starting quantize phase, log: quantize.log")
    at("quantize")
    stats(folder, world, range(world), scales=True)
    if "--unify-to-tp" in options:
        less = int(options["--unify-to-tp"])
        stats(folder, less, range(less), scales=False)
        stats(folder, less, range(less), scales=True)
    put(os.path.join(folder, "calibration_manifest.json"), {"status": "ok", "device": device})
    damage(os.path.dirname(folder))


def unify(arguments: list[str]) -> None:
    """step-5-unify_measurements.py."""
    options = dict(zip(arguments[::2], arguments[1::2]))  # noqa: B905 - Python 3.10 knows it, 3.9 not
    record({"model": options["-m"]})
    at("unify")
    there = os.listdir(options["-m"])
    plain = [name for name in there if re.fullmatch(r"inc_output_hooks_maxabs_\d+_\d+\.json", name)]
    if not os.path.isdir(options["-o"]):
        os.mkdir(options["-o"])
    # It takes the number of files for the world size: with others beside them it finds none.
    if not all(name.endswith(f"_{len(plain)}.json") for name in plain):
        say("Error: invalid measurement paths. No *.json files or no *mod_list.json files.")
    elif not TROUBLE.get("unifies nothing"):
        ranks = int(options["-r"])
        stats(options["-o"], ranks, range(ranks), scales=False)
        stats(options["-o"], ranks, range(ranks), scales=True)
    say("finished measurement unifier script")


if __name__ == "__main__":
    {"script": script, "command": command, "unify": unify}[sys.argv[1]](sys.argv[2:])
