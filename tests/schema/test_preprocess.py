from __future__ import annotations

from collections.abc import Callable

from avctl.schema import MDCT, Content, Decode, Filters, Haar, Preprocess, Refine, Shots, Split, TransNet

Refusal = Callable[[Callable[[], object]], str]


def test_codecs_come_in_pairs(refusal: Refusal):
    assert Preprocess().video_codec is None
    assert Preprocess(video_codec=Haar(), audio_codec=MDCT()).audio_codec == MDCT()
    assert "give both codecs" in refusal(lambda: Preprocess(video_codec=Haar()))


def test_shares_add_up_to_one_at_most(refusal: Refusal):
    assert Split(valid=0.5, test=0.5).test == 0.5
    assert "add up to more than 1" in refusal(lambda: Split(valid=0.6, test=0.5))


def test_shares_of_a_split_that_has_none_are_refused(refusal: Refusal):
    assert Split(kind="train").kind == "train"
    assert refusal(lambda: Split(kind="train", test=0.2)).startswith("`Split.test`: every clip goes to train")


def test_frames_are_decoded_by_pyav_unless_a_recipe_says_otherwise(refusal: Refusal):
    assert Preprocess().decode == Decode(engine="pyav", min_psnr_db=30.0)
    assert "min_psnr_db" in refusal(lambda: Decode(min_psnr_db=0.0))


def test_a_threshold_may_be_switched_off():
    assert Filters(max_silence=None).max_silence is None


def test_a_detector_has_the_threshold_of_its_kind(refusal: Refusal):
    assert Shots().detector == Content(threshold=27.0)
    assert Shots(detector=None).detector is None
    assert "threshold" in refusal(lambda: TransNet(threshold=27.0))
    assert refusal(lambda: Shots(detector=None, refine=Refine())).startswith("`Shots.refine`: it splits the shots")


def test_cuts_are_counted_only_where_a_detector_finds_them(refusal: Refusal):
    calm = Filters(max_cuts_per_s=1.0)
    assert "there is none" in refusal(lambda: Preprocess(filters=calm, shots=Shots(detector=None)))
    assert Preprocess(filters=calm).filters.max_cuts_per_s == 1.0
