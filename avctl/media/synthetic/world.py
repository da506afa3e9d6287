"""The small world: what a scene is made of, and when something happens in it, in closed form.

Lengths are in frame heights (x right, y down, the floor at `FLOOR`), times in seconds from the start of the clip.
Every attribute is seen and heard: colour is pitch, shape is timbre, size is loudness, material is decay, place is pan,
and the period of the motion is the rhythm of the sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from avctl.schema import Synthetic

# Stacked perfect fourths from C4: six different pitch classes (C F Bb Eb Ab Db), below 1.2 kHz, 33 % apart.
COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")
FREQUENCIES_HZ = tuple(261.626 * 2 ** (5 * fourth / 12) for fourth in range(6))
SHAPES = ("disc", "square", "triangle")
FAMILIES = ("bounce", "strike", "blink")
SIZES = {"small": 0.16, "large": 0.2}  # radius
MATERIALS = ("wood", "metal")
PLACES = {"left": -1, "centre": 0, "right": 1}
SPEEDS = ("fast", "medium", "slow")  # thirds of the range of periods
BACKGROUNDS = ("slate", "plum", "moss", "ash")

FLOOR = 0.86
HALF_HEIGHT = {"disc": 1.0, "square": 0.9, "triangle": 1.0}  # of a shape, in radii
GRAVITY = 5.0  # frame heights / s^2: the highest hop (0.87 s) still shows nearly all of the object
SHORTEST_HOP_S = 0.3  # a bouncing object loses no more height below this
LIT = 0.4  # share of a period for which a blinking object is lit
PERIODS_S = {"bounce": (0.5, 0.8), "strike": (0.4, 0.8), "blink": (0.4, 0.8)}


@dataclass(frozen=True)
class World:
    """One scene. `beats_s` starts with the beat before the clip, so that sound and picture know their past."""

    colour: str
    shape: str
    family: str
    size: str
    material: str
    place: str
    speed: str
    background: str
    phrasing: int
    seconds: float
    width: float  # of the frame
    x: float  # of the centre at the start
    y: float  # of the centre; of a bouncing object, as it lies on the floor
    drift: float  # frame heights / s, positive to the right
    beats_s: np.ndarray  # of floor impacts, strikes, or lighting up
    periods_s: np.ndarray  # from each beat to the next
    walls_s: np.ndarray  # of impacts on the left or right wall

    @property
    def radius(self) -> float:
        return SIZES[self.size]

    @property
    def frequency_hz(self) -> float:
        return FREQUENCIES_HZ[COLOURS.index(self.colour)]

    @property
    def pan(self) -> float:
        """-1 left .. 1 right. A fifth short of the ends, so that both channels always hold the sound."""
        return 0.8 * PLACES[self.place]

    @property
    def events(self) -> list[tuple[float, str]]:
        """(seconds, kind) of everything that happens within the clip, in order of time."""
        kind = {"bounce": "floor", "strike": "strike", "blink": "light"}[self.family]
        both = [(t, kind) for t in self.beats_s.tolist()] + [(t, "wall") for t in self.walls_s.tolist()]
        return sorted((t, name) for t, name in both if 0 <= t < self.seconds)

    @property
    def truth(self) -> dict[str, Any]:
        """Plain data for the sidecar: attributes by name, and every event."""
        names = ("colour", "shape", "family", "size", "material", "place", "speed", "background")
        return {
            **{name: getattr(self, name) for name in names},
            "frequency_hz": round(self.frequency_hz, 3),
            "pan": self.pan,
            "events_s": [t for t, _ in self.events],
            "event_kinds": [kind for _, kind in self.events],
        }

    def phase(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) -> seconds since the last beat, and the period that it began, each (n,)."""
        beat = np.searchsorted(self.beats_s, t, side="right") - 1
        return t - self.beats_s[beat], self.periods_s[beat]

    def centre(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) -> x and y of the centre, each (n,): a parabola between floor impacts, a zigzag between walls."""
        low, high = self.radius, self.width - self.radius
        x = low + np.abs((self.x + self.drift * t - low + (high - low)) % (2 * (high - low)) - (high - low))
        since, period = self.phase(t)
        height = GRAVITY / 2 * since * (period - since) if self.family == "bounce" else np.zeros_like(t)
        return x, self.y - height

    def brightness(self, t: np.ndarray) -> np.ndarray:
        """Times (n,) -> (n,) in (0, 1]: a struck object flashes, a blinking one is lit or dim."""
        since, period = self.phase(t)
        match self.family:
            case "strike":
                return 0.4 + 0.6 * np.exp(-since / 0.1)
            case "blink":
                return np.where(since < LIT * period, 1.0, 0.2)
            case _:
                return np.ones_like(t)

    def mallet(self, t: np.ndarray) -> np.ndarray:
        """Times (n,) -> (n,) height of the mallet above the struck object."""
        since, period = self.phase(t)
        return 0.28 * np.sin(np.pi * since / period)


def draw(index: int, spec: Synthetic) -> World:
    """Scene number `index` of the world `spec.seed`: a function of both, and of the length and shape of the clip."""
    rng = np.random.Generator(np.random.PCG64([spec.seed, index]))
    colour, shape, family = (str(rng.choice(names)) for names in (COLOURS, SHAPES, FAMILIES))
    size, material, place, background = (
        str(rng.choice(list(names))) for names in (SIZES, MATERIALS, PLACES, BACKGROUNDS)
    )
    shortest, longest = PERIODS_S[family]
    pace, phase, restitution, offset, depth, to_wall, drift = rng.random(7)
    period = shortest + (longest - shortest) * pace
    beats_s, periods_s = _beats(
        spec.seconds, period, first=0.05 + phase * (period - 0.05), loss=0.92 + 0.08 * restitution, family=family
    )
    width = spec.size[1] / spec.size[0]
    radius = SIZES[size]
    x = width * (0.5 + 0.22 * PLACES[place]) + 0.06 * (offset - 0.5)
    speed = _drift(family, PLACES[place], to_wall < 0.5, 2 * drift - 1)
    rest = 0.32 + 0.34 * depth if family == "blink" else FLOOR - HALF_HEIGHT[shape] * radius
    return World(
        colour=colour,
        shape=shape,
        family=family,
        size=size,
        material=material,
        place=place,
        speed=SPEEDS[min(int(3 * pace), 2)],
        background=background,
        phrasing=int(rng.integers(4)),
        seconds=spec.seconds,
        width=width,
        x=x,
        y=rest,
        drift=speed,
        beats_s=beats_s,
        periods_s=periods_s,
        walls_s=_walls(x, speed, radius, width - radius, spec.seconds),
    )


def _beats(seconds: float, period: float, first: float, loss: float, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Beats from the one before the clip to the first after it, and the period after each: first + sum of periods."""
    count = 2 + int(seconds / SHORTEST_HOP_S)
    powers = loss ** np.arange(-1, count) if family == "bounce" else np.ones(count + 1)
    periods = np.maximum(period * powers, SHORTEST_HOP_S)
    beats = first + np.concatenate([[0.0], periods.cumsum()[:-1]]) - periods[0]
    return beats, periods


def _drift(family: str, side: int, to_wall: bool, share: float) -> float:
    """Speed to the right. Half of the objects that bounce beside a wall go for it, at a speed that shows; the others
    keep away from it. `share` is in [-1, 1]."""
    match family:
        case "strike":
            return 0.0
        case "bounce" if side and to_wall:
            return side * (0.2 + 0.05 * share)
        case _:
            return 0.08 * (-side * abs(share) if side else share)


def _walls(x: float, drift: float, low: float, high: float, seconds: float) -> np.ndarray:
    """Times at which x + drift t meets a wall, in closed form: first hit, then one each (high - low) / |drift|."""
    if not drift:
        return np.empty(0)
    first = ((high if drift > 0 else low) - x) / drift
    return np.arange(first, seconds, (high - low) / abs(drift))


@lru_cache
def unseen_triples(count: int) -> frozenset[tuple[str, str, str]]:
    """The first `count` (colour, shape, family) triples of a fixed order.

    The first 18 are a Latin square: each pair of attributes is still seen, with the third attribute at other values.
    """
    triples = list(product(range(6), range(3), range(3)))
    shuffled = np.random.Generator(np.random.PCG64(54)).permutation(len(triples))
    order = sorted(shuffled.tolist(), key=lambda position: sum(triples[position]) % 3 != 0)
    chosen = [triples[position] for position in order[:count]]
    return frozenset((COLOURS[colour], SHAPES[shape], FAMILIES[family]) for colour, shape, family in chosen)
