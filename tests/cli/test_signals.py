from __future__ import annotations

import os
import signal
import subprocess
import sys

from avctl.cli.signals import SIGNALS, Stopper

FORKS = """
import os, signal, sys, time
from avctl.cli.signals import Stopper
with Stopper() as stopper:
    child = os.fork()
    if child == 0:
        time.sleep(600)
    for number in (signal.SIGINT, signal.SIGUSR2):
        os.kill(child, number)
    time.sleep(0.2)
    assert os.waitpid(child, os.WNOHANG) == (0, 0), "the worker did not outlive the signals that its parent handles"
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    assert not stopper.event.is_set()
"""


def test_the_first_signal_sets_the_event_and_handlers_are_put_back():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with Stopper() as stopper:
        assert not stopper.event.is_set()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stopper.event.is_set()
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_a_forked_worker_can_be_terminated_but_waits_for_its_parent_otherwise():
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=60)
