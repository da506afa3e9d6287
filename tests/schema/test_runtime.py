from __future__ import annotations

import os
from collections.abc import Callable

from avctl.schema import Ray, Runtime

Refusal = Callable[[Callable[[], object]], str]


def test_how_to_run_is_checked_too(refusal: Refusal):
    assert Runtime().num_workers == Runtime().num_threads == len(os.sched_getaffinity(0))
    assert (Runtime(workers=3).num_workers, Runtime(threads=5).num_threads) == (3, 5)
    assert "`Runtime.threads`" in refusal(lambda: Runtime(threads=0))


def test_a_cluster_is_a_host_and_a_port(refusal: Refusal):
    for address in ("head:6379", "10.0.0.1:6379", "[fe80::1]:6379"):
        assert Runtime(pool=Ray(address=address)).pool == Ray(address=address)
    for address in ("head", "ray://head:10001", "auto", "a b:1"):
        assert "`Ray.address`" in refusal(lambda address=address: Ray(address=address))
