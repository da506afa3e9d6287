from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avctl.schema import Request, Sample

Refusal = Callable[[Callable[[], object]], str]


def test_a_set_is_named_for_what_was_asked():
    assert Request().name == "text_to_both-test"
    assert Request(task="audio_to_video", split="unseen", use_caption=False).name == "audio_to_video-unseen-uncaptioned"


def test_an_unknown_task_comes_with_those_that_there_are(refusal: Refusal):
    assert "'text_to_both', 'audio_to_video'" in refusal(lambda: Request(task="text_to_video"))  # pyright: ignore
    assert Sample().requests == (Request(),)


def test_what_would_have_no_effect_is_refused(refusal: Refusal):
    assert "keeps no seconds" in refusal(lambda: Request(keep_s=0.5))
    assert Request(task="extend", keep_s=0.5)
    assert "it is read where guidance is not 1" in refusal(lambda: Sample(negative_prompt="blurred"))
    assert Sample(requests=(Request(guidance=2.0),), negative_prompt="blurred")
    assert Sample(prompts=Path("prompts.txt"), negative_prompt="blurred")
    assert "no caption to guide by" in refusal(lambda: Sample(requests=(Request(use_caption=False, guidance=2.0),)))
    assert Sample(requests=(Request(use_caption=False, guidance=2.0),), negative_prompt="blurred")
