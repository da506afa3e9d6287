from __future__ import annotations

from collections.abc import Callable

from avctl.schema import Request, Sample

Refusal = Callable[[Callable[[], object]], str]


def test_a_set_is_named_for_what_was_asked():
    assert Request().name == "text_to_both-test"
    assert Request(task="audio_to_video", split="unseen", use_caption=False).name == "audio_to_video-unseen-uncaptioned"


def test_an_unknown_task_comes_with_those_that_there_are(refusal: Refusal):
    assert "'text_to_both', 'audio_to_video'" in refusal(lambda: Request(task="text_to_video"))  # pyright: ignore
    assert Sample().requests == (Request(),)
