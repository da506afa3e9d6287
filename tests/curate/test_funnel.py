"""The funnel counts every file and every clip once, and shows examples by name."""

from __future__ import annotations

import json
from pathlib import Path

from avctl.curate.assemble import Tables
from avctl.curate.funnel import EXAMPLES, funnel, write_funnel

LOSSES = [("http_404", "http://a/<x>.mp4"), ("same bytes as another", "http://a/y.mp4")]


def tables() -> Tables:
    """Twelve files: nine silent ones, one too short, one whose clip is blurred, one used."""
    made = Tables()
    for i in range(12):
        reason = "silent_audio" if i < 9 else None
        row = {"sha256": f"{i}", "name": f"<{i}>.mp4", "reason": reason, "detail": ""}
        made.sources.append(row | {"places": max(0, i - 9) * 3, "candidates": max(0, i - 9), "has_sound": i != 11})
    clip = {"split": "train", "skew": -0.4, "padded": 3, "start_s": 0.0}
    made.clips = [clip | {"source_sha256": source, "reason": why} for source, why in (("10", "blur"), ("11", None))]
    made.clips.append(clip | {"source_sha256": "11", "reason": "duplicate"})
    return made


def test_every_file_and_clip_is_in_one_line() -> None:
    counts = funnel(tables(), LOSSES)
    crawl, files, clips = counts["crawl"], counts["files"], counts["clips"]
    assert crawl["found"] == files["given"] + sum(line["count"] for line in crawl["lost"].values()) == 14
    assert crawl["lost"]["http_404"]["examples"] == ["http://a/<x>.mp4"]
    assert files["quarantined"]["silent_audio"]["count"] == 9
    assert len(files["quarantined"]["silent_audio"]["examples"]) == EXAMPLES
    assert files["too_short"] == {"count": 1, "examples": ["<9>.mp4"]}
    assert files["all_clips_dropped"] == {"count": 1, "examples": ["<10>.mp4"]} and files["used"] == 1
    assert files["without_sound"] == {"count": 1, "examples": ["<11>.mp4"]}
    assert clips["places"] == clips["beyond_max_clips"] + clips["candidates"] == 9
    assert clips["candidates"] == clips["kept"] + sum(line["count"] for line in clips["dropped"].values())
    assert (counts["max_skew_samples"], counts["splits"]) == (0.4, {"train": 1})


def test_files_that_a_trial_left_out_have_their_line(tmp_path: Path) -> None:
    counts = funnel(tables(), LOSSES, beyond_max_samples=5)
    assert counts["crawl"]["found"] == 19 and counts["crawl"]["beyond_max_samples"] == 5
    write_funnel(tmp_path, counts)
    assert "beyond max_samples" in (tmp_path / "funnel.html").read_text()
    assert "beyond_max_samples" not in funnel(tables(), LOSSES)["crawl"]


def test_the_page_stands_alone_and_escapes_names(tmp_path: Path) -> None:
    write_funnel(tmp_path, funnel(tables(), LOSSES))
    page = (tmp_path / "funnel.html").read_text()
    assert "&lt;0&gt;.mp4" in page
    assert "<0>.mp4" not in page
    assert "http_404" in page and "same bytes as another" in page
    assert "src=" not in page
    assert "href=" not in page
    assert json.loads((tmp_path / "funnel.json").read_text()) == funnel(tables(), LOSSES)
