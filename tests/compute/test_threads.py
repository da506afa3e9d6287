"""Work side by side comes back in order, on one core each."""

from __future__ import annotations

import threading

import pytest
import torch

from avctl.compute.threads import Threads, one_thread


def test_results_come_in_the_order_of_the_items() -> None:
    turn = threading.Barrier(2)

    def meet(item: int) -> int:
        turn.wait(10)  # both are at work at once, or this breaks
        return 10 * item

    with Threads(2) as threads:
        assert threads.map(meet, [1, 2]) == [10, 20]


def test_each_thread_computes_on_one_core() -> None:
    with Threads(2) as threads:
        assert threads.map(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]


def test_one_thread_is_the_caller() -> None:
    with Threads(1) as threads:
        assert threads.map(lambda _: threading.get_ident(), [0, 1]) == [threading.get_ident()] * 2


def test_an_error_is_raised_by_the_caller() -> None:
    with Threads(2) as threads, pytest.raises(ZeroDivisionError):
        threads.map(lambda x: 1 // x, [1, 0])


def test_a_cpu_has_as_many_as_torch_was_given_and_a_gpu_one() -> None:
    with Threads.on(torch.device("cpu")) as threads:
        assert threads.count == torch.get_num_threads()
    assert Threads.on(torch.device("cuda")).count == 1


def test_one_thread_is_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="inside"), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
