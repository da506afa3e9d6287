from __future__ import annotations

from avctl.curate.cuts import detector
from avctl.curate.cuts.content import ContentCuts
from avctl.curate.cuts.transnet import TransNetCuts
from avctl.schema import Content, TransNet


def test_a_recipe_names_its_detector():
    assert isinstance(detector(Content()), ContentCuts)
    assert isinstance(detector(TransNet()), TransNetCuts)
