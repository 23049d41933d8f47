"""Files that were made by hand: looked at, listed, and left as they are."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.calibration.conftest import LOWER, NAME, Ended, Pod
from tests.podscripts.calibration.stub import put
from tests.podscripts.calibration.test_failures import check
from tests.podscripts.calibration.test_results import listed, stems
from tests.podscripts.conftest import give
from tests.podscripts.test_adopted import states
from vllm_operator.api.prefetch import EXIT_ACT

Adopt = Callable[..., Ended]


@pytest.fixture
def made(pod: Pod) -> Path:
    """What the guide has made: /data/inc with the files of a model below it, and no manifest."""
    by_hand = pod.place / "data/inc"
    pod.run(output=str(by_hand)).done  # noqa: B018
    (by_hand / LOWER / "manifest.json").unlink()
    pod.trouble = {}
    return by_hand / LOWER


@pytest.fixture
def adopt(pod: Pod) -> Adopt:
    """Runs it on files that are there, without a model, a dataset or cards."""
    left_out = ("backend", "model", "dataset", "dataset_sha256", "sample_limit")

    def run(existing: Path, *more: str, **changed: str | None) -> Ended:
        shutil.rmtree(pod.place / "image", ignore_errors=True)
        return pod.run("--existing", str(existing), *more, **{**dict.fromkeys(left_out), **changed})

    return run


@pytest.mark.parametrize("what", ["", "..", "maxabs_quant_g2.json"])
def test_files_are_adopted(made: Path, adopt: Adopt, what: str) -> None:
    before = states(made)
    run = adopt(made / what)
    done = run.done
    assert (done.output, done.quant_config) == (str(made), str(made / "maxabs_quant_g2.json"))
    assert (done.generation, done.world_size, done.samples, done.reused) == ("g2", 2, 0, False)
    assert done.manifest == str(made / "manifest.json")
    assert set(listed(done)["files"]) == stems(2) | {"maxabs_quant_g2.json", "maxabs_measure_g2.json"}
    after = states(made)
    assert {name: state for name, state in after.items() if name not in ("manifest.json", ".")} == {
        name: state for name, state in before.items() if name != "."
    }
    assert [step.step for step in run.steps] == ["prepare", "verify", "done"]
    again = adopt(made / what).done
    assert (again.sha256, again.reused) == (done.sha256, True)
    assert states(made) == after


def test_files_that_nobody_may_write_are_adopted(
    pod: Pod, made: Path, adopt: Adopt, volume: Callable[[int], Path], read_only: Callable[[Path], None]
) -> None:
    foreign = volume(4)
    dump = made / "maxabs_quant_g2.json"
    dump.write_text(dump.read_text().replace(str(made), str(foreign / LOWER)))
    shutil.copytree(made, foreign / LOWER)
    read_only(foreign)
    done = adopt(foreign).done
    assert (done.output, done.manifest) == (str(foreign / LOWER), str(pod.folder / "manifest.json"))
    assert listed(done)["name"] == NAME
    assert adopt(foreign).done.reused


def test_files_of_somebody_else_are_adopted(pod: Pod, made: Path, adopt: Adopt) -> None:
    for path in (made, *made.rglob("*")):
        os.chown(path, 0, 0)
    done = adopt(made).done
    assert done.manifest == str(pod.folder / "manifest.json")
    assert listed(done)


def test_a_manifest_of_somebody_else_stays(pod: Pod, made: Path, adopt: Adopt) -> None:
    (made / "manifest.json").write_text('{"layers": []}')
    assert adopt(made).done.manifest == str(pod.folder / "manifest.json")
    assert (made / "manifest.json").read_text() == '{"layers": []}'


def test_a_manifest_that_does_not_fit_any_more_stays(pod: Pod, made: Path, adopt: Adopt) -> None:
    """Servers may have been told its hash: what was changed has to fail there."""
    first = adopt(made).done
    put(str(made / "g2/inc_output_hooks_maxabs_0_2.npz"), "xy")
    text = (made / "manifest.json").read_text()
    done = adopt(made).done
    assert (done.manifest, done.reused) == (str(pod.folder / "manifest.json"), False)
    assert done.sha256 != first.sha256
    assert (made / "manifest.json").read_text() == text
    # Ours is replaced at once: whoever reads it meanwhile reads the old one.
    ours = Path(done.manifest)
    os.link(ours, pod.place / "old")
    put(str(made / "g2/inc_output_hooks_maxabs_0_2.npz"), "xz")
    assert adopt(made).done.sha256 != done.sha256
    assert hashlib.sha256((pod.place / "old").read_bytes()).hexdigest() == done.sha256


def test_what_we_have_made_is_adopted_with_its_own_manifest(pod: Pod, adopt: Adopt) -> None:
    by_us = pod.run().done
    done = adopt(pod.folder).done
    assert (done.sha256, done.samples, done.reused) == (by_us.sha256, 96, True)


@pytest.mark.parametrize("name", [NAME, LOWER, NAME.upper()])
def test_a_folder_in_whatever_case(made: Path, adopt: Adopt, name: str) -> None:
    folder = made.with_name(name)
    made.rename(folder)
    config = folder / "maxabs_quant_g2.json"
    config.write_text(config.read_text().replace(str(made), str(folder)))
    assert adopt(folder).done.output == adopt(folder.parent).done.output == str(folder)


def test_a_link_in_the_other_case(made: Path, adopt: Adopt) -> None:
    """What people have made so that a path with capitals is found."""
    link = made.with_name(NAME)
    link.symlink_to(LOWER)
    assert adopt(link).done.output == str(link)
    assert adopt(made.parent).done.output == str(made)


def test_a_folder_that_was_moved_says_what_to_change(made: Path, adopt: Adopt) -> None:
    folder = made.with_name(NAME)
    made.rename(folder)
    check(
        adopt(folder), "ArtifactsIncomplete", EXIT_ACT,
        f"dump_stats_path '{made}/g2/inc_output'", f"Set it to '{folder}/g2/inc_output'",
    )  # fmt: skip


def test_scales_may_be_missing_as_a_server_computes_them(made: Path, adopt: Adopt) -> None:
    for file in (made / "g2").glob("*MAXABS_HW*"):
        file.unlink()
    assert adopt(made).done.files == 2 + 4
    assert "MAXABS" not in Path(adopt(made).done.manifest).read_text()


def test_some_scales_may_not_be_missing(made: Path, adopt: Adopt) -> None:
    (made / "g2/inc_output_hooks_maxabs_MAXABS_HW_0_2.json").unlink()
    check(adopt(made), "ArtifactsIncomplete", EXIT_ACT, "MAXABS_HW_0_2.json")


def test_files_for_another_number_of_cards(made: Path, adopt: Adopt) -> None:
    check(
        adopt(made, tensor_parallel_size="4"), "ArtifactsIncomplete", EXIT_ACT,
        "lacks inc_output_hooks_maxabs_0_4.json", "and 4 more", "for a tensorParallelSize of 2",
    )  # fmt: skip


def test_files_for_another_generation(made: Path, adopt: Adopt) -> None:
    check(adopt(made, "--generation", "g3"), "GenerationMismatch", EXIT_ACT, "are for g2, not for g3")
    shutil.copy(made / "maxabs_quant_g2.json", made / "maxabs_quant_g3.json")
    check(adopt(made), "GenerationMismatch", EXIT_ACT, "g2 and g3", "spec.gaudi.generation")
    assert adopt(made, "--generation", "g2").done.generation == "g2"


@pytest.mark.parametrize("where", ["data/nowhere", "data/datasets", "data/datasets/staged.pkl"])
def test_a_folder_without_files(pod: Pod, adopt: Adopt, where: str) -> None:
    check(
        adopt(pod.place / where),
        "ArtifactsIncomplete",
        EXIT_ACT,
        str(pod.place / where),
        "spec.existing.path",
    )


def test_samples_are_told_where_the_files_tell(made: Path, adopt: Adopt) -> None:
    for file in (made / "g2").glob("*_2.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "NumSamples": 512}))
    assert adopt(made).done.samples == 512


def test_a_file_that_nobody_may_read(made: Path, adopt: Adopt) -> None:
    give(made)
    file = made / "g2/inc_output_hooks_maxabs_1_2.npz"
    os.chown(file, 0, 0)
    file.chmod(0o600)
    check(adopt(made), "CacheNotReadable", EXIT_ACT, str(file), "uid 0")
