"""Races come in the order of the goals."""

from __future__ import annotations

from benches.kernels import GPU_SIZES, NAMES, in_order


def test_the_size_of_the_design_comes_first_and_then_the_norm_at_all_others() -> None:
    order = in_order(NAMES, GPU_SIZES)
    first, others = len(NAMES), len(GPU_SIZES) - 1
    assert order[:first] == [(name, GPU_SIZES[0]) for name in NAMES]
    assert order[first : first + others] == [("norm_modulate", size) for size in GPU_SIZES[1:]]
    assert len(order) == len(set(order)) == len(NAMES) * len(GPU_SIZES)


def test_windows_are_left_to_their_own_bench() -> None:
    assert "av_window_attention" not in NAMES
