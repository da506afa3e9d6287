"""Captions name what is to be seen, in few words."""

from __future__ import annotations

from avctl.media.synthetic.caption import caption
from avctl.media.synthetic.world import draw
from avctl.schema import Synthetic

WORLDS = [draw(index, Synthetic(count=1)) for index in range(200)]


def test_a_caption_names_every_attribute_in_at_most_11_words() -> None:
    words = {"wood": "wooden", "slow": "slowly", "medium": "steadily", "fast": "quickly"}
    for world in WORLDS:
        text = caption(world)
        assert len(text.split()) <= 11
        for name in (world.colour, world.shape, world.size, world.material, world.place, world.speed):
            assert words.get(name, name) in text.split()


def test_each_family_has_words_of_its_own() -> None:
    stems = {"bounc": "bounce", "struck": "strike", "hit": "strike", "blink": "blink"}
    for world in WORLDS:
        assert [family for stem, family in stems.items() if f" {stem}" in caption(world)] == [world.family]


def test_there_are_several_ways_to_say_it() -> None:
    assert len({caption(world).replace(world.colour, "").split()[0] for world in WORLDS}) >= 2
    assert {world.phrasing for world in WORLDS} == {0, 1, 2, 3}
