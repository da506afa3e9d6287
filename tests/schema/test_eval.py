from __future__ import annotations

from collections.abc import Callable

from avctl.schema import Eval

Refusal = Callable[[Callable[[], object]], str]


def test_metrics_are_chosen_by_name(refusal: Refusal):
    assert Eval(metrics=("onsets",)).metrics == ("onsets",)
    assert "`Eval.metrics` must be" in refusal(lambda: Eval(metrics=("fid",)))  # pyright: ignore
    assert "`Eval.tolerance_s`" in refusal(lambda: Eval(tolerance_s=0.0))
