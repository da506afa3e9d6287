"""A clip never changes sides."""

from __future__ import annotations

from collections import Counter

from avctl.curate.splits import side
from avctl.schema import Split

HASHES = [f"{i:064x}" for i in range(4_000)]


def test_shares_are_kept() -> None:
    counts = Counter(side(sha256, Split(valid=0.2, test=0.1), None) for sha256 in HASHES)
    assert abs(counts["valid"] - 800) < 80
    assert abs(counts["test"] - 400) < 60


def test_a_larger_test_share_moves_nothing_out_of_test() -> None:
    small, large = Split(valid=0.1, test=0.1), Split(valid=0.1, test=0.3)
    assert all(side(h, large, None) == "test" for h in HASHES if side(h, small, None) == "test")


def test_what_the_source_says_wins() -> None:
    assert side(HASHES[0], Split(kind="train"), "unseen") == "unseen"


def test_all_can_stand_on_one_side() -> None:
    assert {side(sha256, Split(kind="test"), None) for sha256 in HASHES} == {"test"}
