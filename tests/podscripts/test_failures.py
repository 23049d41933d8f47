"""What a run says that cannot end well: reason, remedy and exit code, and never a secret or a traceback."""

import errno
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.conftest import PATIENCE_SECONDS, PODSCRIPTS, Run, give
from tests.podscripts.hub import INVALID_CREDENTIALS, Answer, Asked, Hub, error
from tests.podscripts.models import SMALL, noise, size
from tests.podscripts.test_needed import reasons
from vllm_operator.api.prefetch import EXIT_ACT, FAILURES
from vllm_operator.podscripts import hub as podscripts_hub
from vllm_operator.podscripts import log
from vllm_operator.podscripts.failures import LONGEST_MESSAGE

Runner = Callable[..., Run]
PASSING, UNEXPECTED = 75, 70
TOKEN = "hf_SecretSecretSecret"


def check(run: Run, reason: str, code: int, *words: str) -> str:
    """A report that people can use, and no more than that."""
    assert run.failure.reason == reason, run.failure
    assert run.code == code
    message = run.failure.message
    for word in words:
        assert word in message
    assert len(run.report_text.encode()) < 4096
    assert re.search(r"[a-z]\.$", message), message
    assert "Traceback" not in message
    assert "Traceback" not in run.out
    assert ("Traceback" in run.err) == (code == UNEXPECTED)
    assert TOKEN not in run.out + run.err + run.report_text
    assert run.steps
    return message


REFUSALS: dict[str, tuple[dict[str, bool] | None, str, str, tuple[str, ...]]] = {
    "gated, no token": (
        {"gated": True},
        "",
        "GatedModel",
        ("401", "Ask for access", "spec.model.tokenSecretRef"),
    ),
    "gated, not granted": ({"gated": True}, TOKEN, "GatedModel", ("403", "not in the authorized list")),
    "no such model": (
        None,
        "",
        "ModelNotFound",
        ("401", "no such model", "private", "spec.model.tokenSecretRef"),
    ),
    "no such model, token": (None, TOKEN, "ModelNotFound", ("404", "no such model", "private")),
    "private, no token": ({"private": True}, "", "ModelNotFound", ("no such model", "private")),
    "private, other's token": ({"private": True}, TOKEN, "ModelNotFound", ("404", "private")),
    "wrong token": (
        {},
        "hf_Wrong",
        "InvalidToken",
        ("401", INVALID_CREDENTIALS, "spec.model.tokenSecretRef"),
    ),
    "token with a space": ({}, TOKEN + " x", "InvalidToken", ("Correct it",)),
    "token with another letter": ({}, TOKEN + "é", "InvalidToken", ("Correct it",)),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(hub: Hub, prefetch: Runner, place: Path, case: str) -> None:
    repo, token, reason, words = REFUSALS[case]
    hub.valid.add(TOKEN)
    if repo is not None:
        hub.add("org/model", SMALL, **repo)
    run = prefetch(place, "org/model", **({"HF_TOKEN": token} if token else {}))
    check(run, reason, EXIT_ACT, *words)
    assert "hf_" not in run.report_text
    assert not token or token not in run.err
    assert not list(place.rglob("snapshots"))


@pytest.mark.parametrize("revision", ["no-such-branch", "f" * 40])
def test_no_such_revision(hub: Hub, prefetch: Runner, place: Path, revision: str) -> None:
    hub.add("org/model", SMALL)
    check(
        prefetch(place, "org/model", "--revision", revision),
        "ModelNotFound",
        EXIT_ACT,
        revision,
        "model.revision",
    )


UNREACHABLE: dict[str, tuple[str, Answer, str]] = {
    "listing 500": ("/api/", error(500, "", "Internal error"), "Internal error"),
    "listing 502": ("/api/", error(502), "502"),
    "file 503": ("/cdn/", error(503), "503"),
    "rate limit": ("/api/", error(429, "", "Slow down", **{"Retry-After": "0"}), "429 (Slow down)"),
    "no hub": ("/api/", (200, {}, b"<html>Log in to the guest network</html>"), "not as a hub does"),
    "another thing": (
        "/api/",
        (200, {}, b'{"sha": "x", "siblings": [{"rfilename": "a"}]}'),
        "spec.model.hubEndpoint",
    ),
    "a list": ("/api/", (200, {}, b"[]"), "not as a hub does"),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_a_hub_in_trouble(hub: Hub, prefetch: Runner, place: Path, case: str) -> None:
    hub.add("org/model", SMALL)
    where, answer, words = UNREACHABLE[case]
    hub.troubles += [(where, answer)] * 5
    check(prefetch(place, "org/model"), "HubUnreachable", PASSING, words)
    assert hub.troubles == []
    assert prefetch(place, "org/model").code == 0


def test_a_long_wait_is_left_to_the_job(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SMALL)
    hub.troubles.append(("/api/", error(429, **{"Retry-After": "3600"})))
    check(prefetch(place, "org/model"), "HubUnreachable", PASSING, "in 3600 seconds")
    assert len(hub.asked) == 1


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("way", ["refused", "proxy", "name", "address"])
def test_no_way_to_the_hub(prefetch: Runner, place: Path, way: str) -> None:
    port = closed_port()
    variables = {
        "refused": {"HF_ENDPOINT": f"http://127.0.0.1:{port}"},
        "proxy": {"HF_ENDPOINT": "http://hub.invalid", "http_proxy": f"http://me:{TOKEN}@127.0.0.1:{port}"},
        "name": {"HF_ENDPOINT": "http://hub.invalid"},
        "address": {"HF_ENDPOINT": "hub.without.scheme"},
    }[way]
    check(
        prefetch(place, "org/model", **variables),
        "HubUnreachable",
        PASSING,
        variables["HF_ENDPOINT"],
        "proxies",
    )


def test_a_content_that_never_fits_is_not_kept(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SMALL)
    hub.forged = {"model.safetensors": [noise(300_000, 77)] * 9}
    check(prefetch(place, "org/model"), "HubUnreachable", PASSING, "another content of model.safetensors")
    assert not list(place.rglob("snapshots/*/model.safetensors"))


@pytest.mark.parametrize("name", ["../../../../outside", "/outside", "a//b", "./a"])
def test_no_name_leads_out_of_the_cache(hub: Hub, prefetch: Runner, place: Path, name: str) -> None:
    hub.add("org/model", {"config.json": b"{}"})
    hub.names = lambda _: name
    check(prefetch(place / "a/b", "org/model"), "PrefetchFailed", UNEXPECTED, repr(name))
    assert not list(place.rglob("*outside*"))


def test_too_little_space_is_seen_before(hub: Hub, prefetch: Runner, volume: Callable[[int], Path]) -> None:
    hub.add("org/model", SMALL | {"model.safetensors": noise(3 << 20)})
    run = prefetch(volume(2), "org/model")
    check(run, "CacheFull", EXIT_ACT, "0.00 GiB more are needed", "GiB are free", "spec.cache.size")
    assert hub.sent == 0


def test_a_volume_that_fills_up_in_mid_write(
    hub: Hub, prefetch: Runner, volume: Callable[[int], Path]
) -> None:
    files = {"config.json": b"{}", "model.safetensors": noise(3 << 20)}
    hub.add("org/model", files)
    home = volume(4)
    filler = home / "filler"

    def during(asked: Asked, sent: int) -> None:
        if "safetensors" in asked.path and sent >= 1 << 20 and not filler.exists():
            filler.write_bytes(bytes(2 << 20))

    hub.during = during
    check(prefetch(home, "org/model"), "CacheFull", EXIT_ACT, "No space left on device", "spec.cache.size")
    filler.unlink()
    hub.during, hub.asked = (lambda asked, sent: None), []
    done = prefetch(home, "org/model").done
    assert done.bytes == size(files)
    assert done.downloaded == hub.sent < len(files["model.safetensors"])


def test_a_file_of_somebody_else(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    prefetch(place, "org/model")
    link = place / f"hub/models--org--model/snapshots/{commit}/model.safetensors"
    link.resolve().chmod(0o600)
    run = prefetch(place, "org/model", user=1234)
    check(
        run,
        "CacheNotReadable",
        EXIT_ACT,
        f"uid 1234 may not use {link}",
        "uid 1000",
        "mode 0777",
        "spec.cache.fsGroup",
    )


@pytest.mark.parametrize("what", ["hub", "hub/models--org--model", "hub/models--org--model/blobs"])
def test_a_cache_of_somebody_else_that_lacks_files(
    hub: Hub, prefetch: Runner, place: Path, what: str
) -> None:
    hub.add("org/model", SMALL)
    folder = place / what
    folder.mkdir(parents=True)
    give(place)
    os.chown(folder, 0, 0)
    run = prefetch(place, "org/model")
    check(run, "CacheNotReadable", EXIT_ACT, f"may not use {folder}:", "uid 0", "mode 0755", "chown -R")
    assert hub.sent == 0


def test_a_read_only_cache_that_lacks_files(
    hub: Hub, prefetch: Runner, volume: Callable[[int], Path], read_only: Callable[[Path], None]
) -> None:
    hub.add("org/model", SMALL)
    home = volume(4)
    prefetch(home, "org/model")
    # It would not fit either; but more space would not help.
    hub.repos["org/model"].commits["1" * 40] = {"model-2.safetensors": noise(5 << 20)}
    hub.repos["org/model"].refs["main"] = "1" * 40
    read_only(home)
    check(prefetch(home, "org/model"), "CacheNotReadable", EXIT_ACT, str(home), "mounted read-only")


def test_the_end_waits_for_no_other_file(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SMALL)
    stuck, over = threading.Event(), threading.Event()

    def during(asked: Asked, sent: int) -> None:
        if "safetensors" in asked.path:
            stuck.set()
            over.wait(PATIENCE_SECONDS)

    def before(asked: Asked) -> None:
        if "config.json" in asked.path:
            stuck.wait(PATIENCE_SECONDS)

    hub.during, hub.before = during, before
    hub.troubles.append(("config.json", error(403, "GatedRepo", "Access is restricted")))
    run = prefetch(place, "org/model")
    assert not over.is_set()
    over.set()
    check(run, "GatedModel", EXIT_ACT, "Access is restricted")


def test_what_nobody_foresaw(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    (place / f"hub/models--org--model/snapshots/{commit}/config.json").mkdir(parents=True)
    run = prefetch(place, "org/model")
    assert run.failure.reason == "PrefetchFailed"
    assert "IsADirectoryError" in run.failure.message
    assert run.code == UNEXPECTED
    assert "Traceback" in run.err


def test_no_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-own-secret")
    text = "Bearer my-own-secret, hf_AbC123 and http://me:word@proxy:3128/x\n  of https://hub/x?y=hf_Z"
    assert log.masked(text) == "Bearer ***, *** and http://***@proxy:3128/x of https://hub/x?***"


def test_a_report_that_cannot_be_written_is_in_the_log(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    run = prefetch(place, "org/model", "--report", "/proc/nowhere")
    assert run.code == 0
    assert commit in run.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_quota_is_a_full_cache(number: int) -> None:
    failure = podscripts_hub.understood(OSError(number, "words", "/data/x"))
    assert (failure.reason, failure.message[:25]) == ("CacheFull", "The cache is full (words)")


def test_a_time_out_of_a_volume_is_not_the_hubs() -> None:
    assert podscripts_hub.understood(TimeoutError(errno.ETIMEDOUT, "x", "/data")).reason == "PrefetchFailed"
    assert podscripts_hub.understood(TimeoutError("x")).reason == "HubUnreachable"


def test_the_operator_knows_every_reason() -> None:
    assert reasons(PODSCRIPTS / "prefetch.py") == set(FAILURES)


SIGNED = "X-Amz-Signature=" + "5ecret" * 100
QUERIES = {
    f"cannot connect to https://cdn/f?{SIGNED}": "cannot connect to https://cdn/f?***",
    f"Max retries exceeded with url: /f?{SIGNED}&e=1 (Caused by X('y'))": (
        "Max retries exceeded with url: /f?*** (Caused by X('y'))"
    ),
    f"got 'HTTPS://cdn/f?{SIGNED}', sorry.": "got 'HTTPS://cdn/f?***', sorry.",
    f"for url: https://cdn/f?a=1&{SIGNED}. Then": "for url: https://cdn/f?***. Then",
    "https://me:5ecret@cdn/f?5ecret": "https://***@cdn/f?***",
    "Who? x=1 is https://cdn/f?": "Who? x=1 is https://cdn/f?",
}


@pytest.mark.parametrize("text", QUERIES, ids=range(len(QUERIES)))
def test_what_signs_an_address_is_told_to_nobody(text: str) -> None:
    assert log.masked(text) == QUERIES[text]


@pytest.mark.parametrize("words", [f"https://cdn/f?{SIGNED}", "no route " * 200])
def test_what_others_say_does_not_push_the_remedy_out(words: str) -> None:
    failure = podscripts_hub.understood(ConnectionError(words))
    assert failure.message.endswith("Check name resolution, proxies and network policies.")
    assert "5ecret" not in failure.message
    refused = podscripts_hub.refused(404, {"X-Error-Message": words})
    assert refused.message.endswith("in spec.model.tokenSecretRef.")
    others = podscripts_hub.understood(ValueError(words))
    assert max(len(each.message) for each in (failure, refused, others)) < LONGEST_MESSAGE


def test_a_secret_is_not_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "secrets", {"geheim" * 9})
    message = podscripts_hub.understood(ConnectionError("x" * 190 + " " + "geheim" * 9)).message
    assert "geheim" not in message
