import json
from pathlib import Path

from avctl.crawl.sources.synthetic import Studio, world_key
from avctl.media.synthetic import render
from avctl.recipe.spec import replace
from avctl.schema import Synthetic

SPEC = Synthetic(count=5, first=3, seconds=0.5, size=(16, 16), unseen=9)


def test_clips_are_rendered_in_order_with_what_is_known_of_them(tmp_path: Path) -> None:
    done = f"synthetic://{world_key(SPEC)}/000004.mp4"
    with Studio(tmp_path, 1, lambda url: url == done) as studio:
        items = list(studio.items(SPEC))
    assert [item.url.rpartition("/")[2] for item in items] == [f"{index:06d}.mp4" for index in range(3, 8)]
    for index, item in enumerate(items, start=3):
        clip = tmp_path / item.url.removeprefix("synthetic://")
        if item.url == done:
            assert item.caption is None and not clip.exists()
        else:
            scene = render(index, SPEC)
            assert (item.caption, item.split) == (scene.caption, scene.split)
            assert json.loads(item.truth or "") == scene.truth and clip.stat().st_size > 500


def test_nothing_is_started_when_everything_is_settled(tmp_path: Path) -> None:
    with Studio(tmp_path, 1, lambda url: True) as studio:
        assert len(list(studio.items(SPEC))) == 5
    assert not list(tmp_path.iterdir())


def test_clips_of_one_world_have_one_name_in_every_range() -> None:
    assert world_key(SPEC) == world_key(replace(SPEC, count=100, first=0))
    assert world_key(SPEC) != world_key(replace(SPEC, seed=1)) != world_key(replace(SPEC, size=(32, 32)))
