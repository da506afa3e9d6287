from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.schema import FrameAutoencoder, JointDiT

Refusal = Callable[[Callable[[], object]], str]


@pytest.mark.parametrize(
    ("width", "heads", "blocks", "field"),
    [(64, 3, 1, "heads"), (12, 4, 1, "heads"), (64, 4, 0, "num_dual")],
)
def test_a_model_that_cannot_be_built_is_refused(refusal: Refusal, width: int, heads: int, blocks: int, field: str):
    message = refusal(lambda: JointDiT(width=width, heads=heads, num_dual=blocks, num_single=0))
    assert message.startswith(f"`JointDiT.{field}`")


def test_an_autoencoder_that_expands_is_refused(refusal: Refusal):
    assert refusal(lambda: FrameAutoencoder(down=4, channels=49)).startswith("`FrameAutoencoder.channels`")


def test_a_model_may_have_one_kind_of_block_only():
    assert JointDiT(width=64, heads=4, num_dual=0, num_single=1).num_dual == 0
