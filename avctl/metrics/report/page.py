"""The report of an evaluation: one HTML file that holds its players, pictures and numbers, and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from avctl.metrics.report import figures
from avctl.metrics.score import Score
from avctl.metrics.watch import ATTRIBUTES, Footage, Watched


@dataclass(frozen=True)
class Example:
    """A clip to be shown. `real` is the held-out clip that it belongs to, if there is one."""

    file: Path
    prompt: str
    clip: Footage
    watched: Watched
    real: tuple[Footage, Watched] | None = None


@dataclass(frozen=True)
class Section:
    """One set of clips, or one group of scores without clips."""

    title: str
    about: str
    scores: Sequence[Score]
    examples: Sequence[Example] = ()


def page(title: str, sections: Sequence[Section], funnel: str | None) -> str:
    """The whole document. `funnel` is the relative place of the data's funnel report, if there is one."""
    folder = files("avctl.metrics.report")
    style, script = (folder.joinpath(name).read_text() for name in ("report.css", "report.js"))
    links = "".join(f'<a href="#{_anchor(section)}">{escape(section.title)}</a>' for section in sections)
    if funnel:
        links += f'<a href="{escape(funnel)}">funnel of the data</a>'
    body = "".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><nav>{links}</nav></header>
<main>{body}</main>
<footer>{_LEGEND}</footer>
<script>{script}</script>
</body>
</html>
"""


_LEGEND = """<p>Intervals are 95 %, bootstrapped over clips. <b>Chance</b> is what guessing gives; a <b>floor</b> is the
same clips with wrong sound (of other clips, rolled by half, random onsets, silence) or the truth of other clips, and
the best of these is shown; the <b>ceiling</b> is the real clips, and the codec's ceiling the real clips through the
codecs and back. A clip that cannot be decoded counts as wrong. In the pictures, marks from above are events seen, marks
from below events heard, and dotted lines the truth; a click plays from there.</p>"""


def _anchor(section: Section) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in section.title)


def _section(section: Section) -> str:
    examples = "".join(_example(example) for example in section.examples)
    gallery = f'<button class="play-all">play all</button><div class="gallery">{examples}</div>' if examples else ""
    return (
        f'<section id="{_anchor(section)}"><h2>{escape(section.title)}</h2><p>{escape(section.about)}</p>'
        f"{_table(section.scores)}{gallery}</section>"
    )


def _table(scores: Sequence[Score]) -> str:
    if not scores:
        return ""
    heads = ("", "value", "95 % interval", "", "chance", "best floor", "ceiling", "codec's ceiling", "clips")
    rows = "".join(_row(score) for score in scores)
    return (
        f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(score: Score) -> str:
    floors = "\n".join(f"{name}: {_number(value)}" for name, value in score.floors.items())
    clips = str(score.used)
    if score.failed:
        clips += f", {score.failed} failed"
    if score.not_applicable:
        clips += f", {score.not_applicable} n/a"
    interval = f"{_number(score.interval[0])} … {_number(score.interval[1])}" if score.interval else "–"
    record = "\n".join(f"{name}: {value}" for name, value in score.to_json()["record"].items())
    cells = (
        f'<td class="value">{_number(score.value)} {score.unit}</td>',
        f"<td>{interval}</td>",
        f"<td>{_bar(score)}</td>",
        f"<td>{_number(score.chance)}</td>",
        f'<td title="{escape(floors)}">{_number(best_floor(score))}</td>',
        f"<td>{_number(score.ceiling)}</td>",
        f"<td>{_number(score.codec_ceiling)}</td>",
        f"<td>{clips}</td>",
    )
    return f'<tr><th scope="row" title="{escape(record)}">{escape(score.name)}</th>{"".join(cells)}</tr>'


def best_floor(score: Score) -> float | None:
    """What the most favourable kind of chance gets: the floor that a good value has to leave behind."""
    if score.higher_is_better is None or not score.floors:
        return None
    return (max if score.higher_is_better else min)(score.floors.values())


def _bar(score: Score) -> str:
    """Value and interval on the way from the floor (left) to the ceiling (right)."""
    floor = score.chance if score.chance is not None else best_floor(score)
    value, ceiling = score.value, score.ceiling
    if value is None or floor is None or ceiling is None or abs(ceiling - floor) < 1e-9:
        return ""

    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - floor) / (ceiling - floor)))

    low, high = sorted(place(v) for v in score.interval or (value, value))
    return (
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none"><rect class="track" width="100" height="12"/>'
        f'<rect class="fill" width="{place(value):.1f}" height="12"/>'
        f'<rect class="whisker" x="{low:.1f}" y="5" width="{high - low:.1f}" height="2"/></svg>'
    )


def _example(example: Example) -> str:
    video = base64.b64encode(example.file.read_bytes()).decode()
    real = ""
    if example.real:
        real = f"<figcaption>the held-out clip</figcaption>{_timeline(*example.real)}"
    made = _timeline(example.clip, example.watched)
    caption = escape(example.prompt) or "<i>no caption</i>"
    return (
        f'<article><video controls loop playsinline preload="metadata" src="data:video/mp4;base64,{video}"></video>'
        f"<div><p>{caption}</p><p>{_badges(example.watched)}</p>"
        f"<figure>{made}{real}</figure></div></article>"
    )


def _badges(watched: Watched) -> str:
    """What was read from the clip, right or wrong."""
    if not watched.truth:
        return ""
    read = {name: getattr(watched.seen, name, None) for name in ATTRIBUTES}
    hz = watched.heard.frequency_hz
    read["pitch"] = f"{hz:.0f} Hz" if hz else None
    badges = []
    for name, value in read.items():
        verdict = "right" if watched.is_right(name) else "wrong"
        badges.append(f'<span class="{verdict}">{name}: {escape(str(value or "nothing"))}</span>')
    return " ".join(badges)


def _timeline(clip: Footage, watched: Watched) -> str:
    """Frames above the spectrogram; marks of what is seen hang from the top, of what is heard stand at the bottom."""
    rate = round(len(clip.audio) / watched.seconds)
    marks = [_mark(t, watched, "true", 0, 100) for t in (watched.truth or {}).get("events_s", ())]
    marks += [_mark(t, watched, "seen", 0, 30) for t in watched.events.seen_s.tolist()]
    marks += [_mark(t, watched, "heard", 70, 100) for t in watched.events.heard_s.tolist()]
    return (
        f'<div class="timeline"><img class="strip" alt="frames" src="{figures.filmstrip(clip.frames)}">'
        f'<img class="sound" alt="spectrogram" src="{figures.spectrogram(clip.audio, rate)}">'
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none">{"".join(marks)}<line class="head" y2="100"/></svg>'
        "</div>"
    )


def _mark(t: float, watched: Watched, kind: str, top: int, bottom: int) -> str:
    x = 1_000 * t / watched.seconds
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
