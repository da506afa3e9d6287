"""An English sentence that names what a scene shows: at most 11 words, a few ways of saying it."""

from __future__ import annotations

from avctl.media.synthetic.world import World

_MATERIAL = {"wood": "wooden", "metal": "metal"}
_HAPPENS = {
    "bounce": ("bounces", "is bouncing"),
    "strike": ("is struck", "is hit"),
    "blink": ("blinks", "is blinking"),
}
_SPEED = {"slow": "slowly", "medium": "steadily", "fast": "quickly"}
_PLACE = {"left": "on the left", "centre": "in the centre", "right": "on the right"}


def caption(world: World) -> str:
    """The phrasing is the scene's own; every attribute but the background is named."""
    thing = f"a {world.size} {_MATERIAL[world.material]} {world.colour} {world.shape}"
    happens = _HAPPENS[world.family][world.phrasing % 2]
    speed, place = _SPEED[world.speed], _PLACE[world.place]
    if world.phrasing < 2:
        return f"{thing} {happens} {speed} {place}"
    return f"{place} {thing} {happens} {speed}"
