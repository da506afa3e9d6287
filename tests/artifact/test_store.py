from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.artifact import Store
from avctl.artifact.store import require_intact, verify
from avctl.errors import InputError
from avctl.pipeline import Step

Make = Callable[..., Path]


def test_an_artifact_is_found_by_fingerprint_whatever_its_name(store: Store, step: Step, make: Make):
    made = make(a="a")
    assert store.find("crawl", step.fingerprint) == made
    renamed = made.rename(made.with_name(f"another-name-{step.fingerprint}"))
    assert store.find("crawl", step.fingerprint) == renamed
    assert store.find("crawl", "0" * 12) is None
    assert store.find("train", step.fingerprint) is None


def test_folders_moved_aside_are_not_found(store: Store, step: Step, make: Make):
    made = make(a="a")
    made.rename(made.with_name(made.name + ".1"))
    assert store.find("crawl", step.fingerprint) is None


def test_inputs_may_lie_elsewhere(store: Store, step: Step, make: Make, tmp_path: Path):
    made = make(a="a")
    other = Store(tmp_path / "other", also=(store.root,), given={"abc": made})
    assert other.find_input("crawl", step.fingerprint) == other.find_input("crawl", "abc") == made
    assert other.find("crawl", step.fingerprint) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "a").unlink(), "`a` is missing"),
        (lambda f: (f / "a").write_text("longer"), "`a` has 6 bytes instead of 1"),
        (lambda f: (f / "manifest.json").write_text("{"), "no readable"),
    ],
)
def test_damage_is_seen_at_use(make: Make, damage: Callable[[Path], object], message: str):
    made = make(a="a", b="b")
    assert require_intact(made).files.keys() == {"a", "b"}
    damage(made)
    with pytest.raises(InputError, match=message):
        require_intact(made)


def test_a_flipped_byte_is_seen_in_what_has_no_checksum_of_its_own(make: Make):
    made = make(**{"model.safetensors": "ab", "clip.mp4": "ab"})
    for name, is_seen in (("clip.mp4", False), ("model.safetensors", True)):
        (made / name).chmod(0o644)
        (made / name).write_text("aB")
        assert require_intact(made)
        if is_seen:
            with pytest.raises(InputError, match=r"`model\.safetensors` has changed"):
                require_intact(made, to_be_read=True)
        else:
            assert require_intact(made, to_be_read=True)


def test_verify_reads_every_byte(make: Make):
    made = make(a="a", b="b", c="c")
    assert verify(made) == []
    (made / "a").write_text("A")
    (made / "b").unlink()
    (made / "d").write_text("d")
    assert verify(made) == ["`a` has changed", "`b` is missing", "`d` does not belong to it"]


def test_the_hash_of_a_source_is_kept_beside_the_artifacts(store: Store, here: Path):
    before = store.content(here / "videos")
    assert store.content(here / "videos") == before
    assert (store.root / ".hashes.sqlite").exists()
    (here / "videos" / "a.txt").write_text("changed")
    assert store.content(here / "videos") != before


def test_a_store_inside_its_source_is_refused(here: Path):
    with pytest.raises(InputError, match="lies inside the source"):
        Store(here / "videos" / "runs").content(here / "videos")
