from __future__ import annotations

import os
from collections.abc import Callable

from avctl.schema import Runtime

Refusal = Callable[[Callable[[], object]], str]


def test_how_to_run_is_checked_too(refusal: Refusal):
    assert Runtime().num_workers == Runtime().num_threads == len(os.sched_getaffinity(0))
    assert (Runtime(workers=3).num_workers, Runtime(threads=5).num_threads) == (3, 5)
    assert "`Runtime.threads`" in refusal(lambda: Runtime(threads=0))
