"""The page says what the scores say, and nothing in it breaks out of its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avctl.media.mux import write_mp4
from avctl.media.synthetic import render
from avctl.metrics.report.page import Example, Section, best_floor, page
from avctl.metrics.score import Record, Score
from avctl.metrics.watch import Footage, watch
from avctl.schema import Synthetic

RECORD = Record("colour", "small world 1", (32, 32), 16, 16_000, 2, "text_to_both", resamples=1_000)
SCORE = Score(
    "colour", 92.1875, (87.5, 96.1), "%", True, 127, 1, 1, RECORD, 16.7, {"truth of other clips": 17.3}, 100.0, 99.2
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    scene = render(0, Synthetic(count=1, size=(32, 32)))
    file = tmp_path_factory.mktemp("page") / "0.mp4"
    write_mp4(file, scene.frames, scene.audio, 16, 16_000)
    footage = Footage(scene.frames, scene.audio)
    return Example(file, "a <red> ball & more", footage, watch(footage, 16, 16_000, scene.truth))


def test_a_row_shows_value_interval_chance_floor_ceilings_and_counts() -> None:
    text = page("t", [Section("s", "about", [SCORE])], None)
    for part in ("92.2 %", "87.5 … 96.1", ">16.7<", ">17.3<", ">100<", ">99.2<", "127, 1 failed, 1 n/a", "PyAV"):
        assert part in text


def test_what_could_not_be_measured_is_a_dash() -> None:
    text = page("t", [Section("s", "", [replace(SCORE, value=None, interval=None, ceiling=None)])], None)
    assert "– %" in text and ">nan" not in text


def test_text_from_prompts_is_escaped(example: Example) -> None:
    text = page("<t>", [Section("<s>", "", [], [example])], "../a&b/funnel.html")
    assert "<red>" not in text and "a &lt;red&gt; ball &amp; more" in text
    assert "<s>" not in text and "<t>" not in text and "../a&amp;b/funnel.html" in text


def test_an_example_has_a_player_a_strip_a_spectrogram_and_its_marks(example: Example) -> None:
    text = page("t", [Section("s", "", [], [example])], None)
    assert text.count("data:video/mp4;base64,") == 1 and text.count("data:image/png;base64,") == 2
    assert text.count('<line class="seen"') == len(example.watched.events.seen_s) > 0
    assert text.count('<line class="true"') == len(example.watched.events.seen_s)
    assert 'class="right">family:' in text


def test_the_best_floor_is_the_hardest_to_beat() -> None:
    floors = {"a": 0.2, "b": 0.4}
    assert best_floor(replace(SCORE, floors=floors)) == 0.4
    assert best_floor(replace(SCORE, floors=floors, higher_is_better=False)) == 0.2
    assert best_floor(replace(SCORE, floors=floors, higher_is_better=None)) is None
