"""`rollout.refresh` takes what the present operator would make; `refreshAvailable` says if there is any."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import DEFAULT, DEFAULT_IMAGE, defaults, kinds, observed, record_of, server
from vllm_operator.api.observed import RecordFacts, Target
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired.defaults import Image
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.records import pack, renderer
from vllm_operator.desired.server import desired

NEWER = Image("registry.example/newer:v2", "vllm 0.32")
OWN = {"image": "own:1", "engine": {"family": "vllm", "version": "0.32"}}
OLD_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "old"}]}}


def refreshed(to: str | None, **spec: Any) -> dict[str, Any]:
    return spec | ({"rollout": {"refresh": to}} if to is not None else {})


def made(spec: dict[str, Any], *records: RecordFacts, default: Image = DEFAULT_IMAGE) -> Desired[Target]:
    return desired(observed(server(spec), *records), defaults(default))


def kept(of: Desired[Target]) -> RecordFacts:
    """The record of what was made, known to the operator that comes next."""
    return record_of(kinds(of.manifests)["ControllerRevision"])


def template(of: Desired[Target]) -> Any:
    return kinds(of.manifests)["Deployment"]["spec"]["template"]


def by_an_older_operator(of: RecordFacts, **facts: Any) -> RecordFacts:
    return replace(of, renderer="older", **facts)


def test_a_refresh_takes_the_present_template_and_default_image() -> None:
    first = made(refreshed("a"))
    old = by_an_older_operator(kept(first), content=pack(OLD_TEMPLATE))
    assert template(made(refreshed("a"), old, default=NEWER)) == OLD_TEMPLATE
    taken = made(refreshed("b"), old, default=NEWER)
    assert taken.target.image == NEWER.image
    assert taken.target.record != first.target.record
    assert template(taken) == template(made(refreshed("b"), default=NEWER))
    assert not taken.target.refresh_available


@pytest.mark.parametrize(("one", "other"), [(None, "1"), ("1", None), ("1", "2")])
def test_any_change_of_it_is_one(one: str | None, other: str | None) -> None:
    old = kept(made(refreshed(one)))
    assert made(refreshed(one), old, default=NEWER).target.image == DEFAULT_IMAGE.image
    assert made(refreshed(other), old, default=NEWER).target.image == NEWER.image


def test_going_back_while_the_old_record_is_there_gives_the_old_revision() -> None:
    """A commit that is reverted before its rollout is through."""
    first = made(refreshed("a"))
    old = by_an_older_operator(kept(first), content=pack(OLD_TEMPLATE))
    second = record_of(kinds(made(refreshed("b"), old, default=NEWER).manifests)["ControllerRevision"])
    assert second.revision == 2
    back = made(refreshed("a"), old, second, default=NEWER)
    assert (back.target.record, back.target.image) == (first.target.record, DEFAULT_IMAGE.image)
    assert template(back) == OLD_TEMPLATE
    # Once the new revision serves, the old record is pruned: then going back is one more change.
    assert made(refreshed("a"), second, default=NEWER).target.image == NEWER.image


def test_other_edits_keep_the_pin() -> None:
    first = kept(made(refreshed("a")))
    edited = made(refreshed("a", engineArgs={"seed": 1}), first, default=NEWER)
    assert (edited.target.image, edited.target.refresh_available) == (DEFAULT_IMAGE.image, False)
    second = kept(edited)
    assert (
        made(refreshed("a", engineArgs={"seed": 2}), first, second, default=NEWER).target.image
        == DEFAULT_IMAGE.image
    )


def test_a_refresh_with_another_edit_is_still_one() -> None:
    first = kept(made(refreshed("a")))
    assert made(refreshed("b", engineArgs={"seed": 1}), first, default=NEWER).target.image == NEWER.image


def test_the_pin_outlives_an_image_of_ones_own_while_its_record_does() -> None:
    first = kept(made({}))
    own = record_of(kinds(made(OWN, first).manifests)["ControllerRevision"])
    assert made({}, first, own, default=NEWER).target.image == DEFAULT_IMAGE.image
    assert made({}, own, default=NEWER).target.image == NEWER.image


def available(*, default: Image = DEFAULT_IMAGE, spec: dict[str, Any] | None = None, **facts: Any) -> bool:
    """What is said of a server whose record differs from one of the present operator by some facts."""
    known = replace(kept(made(spec or {})), **facts)
    return made(spec or {}, known, default=default).target.refresh_available


def test_nothing_is_available_of_what_was_just_made() -> None:
    assert not made({}).target.refresh_available
    assert not available()


def test_another_default_image_is_available() -> None:
    assert available(default=NEWER)
    assert available(default=Image(DEFAULT_IMAGE.image, "vllm 0.32.1"))
    assert not available(default=NEWER, spec=OWN)


def test_another_operator_that_would_make_the_same_has_nothing_to_offer() -> None:
    assert not available(renderer="older")


def test_another_operator_that_would_make_another_template_has() -> None:
    assert available(renderer="older", content=pack(OLD_TEMPLATE))
    assert available(renderer="older", content=pack(OLD_TEMPLATE), spec=OWN)


def test_what_this_very_operator_has_rendered_is_not_rendered_again() -> None:
    assert not available(renderer=renderer(DEFAULT), content=pack(OLD_TEMPLATE))


def test_a_record_bears_its_refresh_and_its_renderer() -> None:
    written = kinds(made(refreshed("a")).manifests)["ControllerRevision"]["data"]
    assert written["renderer"] == renderer(DEFAULT)
    assert written["inputs"]["spec"]["rollout"] == {"refresh": "a"}
    assert "rollout" not in kinds(made({}).manifests)["ControllerRevision"]["data"]["inputs"]["spec"]


def test_what_the_present_operator_would_not_make_is_no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs is left as it is, and its status says so, not that its engine refuses it."""
    old = by_an_older_operator(kept(made(OWN)), content=pack(OLD_TEMPLATE))
    assert made(OWN, old).target.refresh_available

    def refuse(*_: object) -> None:
        raise StalledError(Reason.INVALID_FOR_ENGINE, "no longer a flag")

    monkeypatch.setattr("vllm_operator.desired.server.pod_template", refuse)
    kept_ = made(OWN, old)
    assert not kept_.target.refresh_available
    assert template(kept_) == OLD_TEMPLATE
