from __future__ import annotations

import pickle

from avctl.errors import Interrupted, MachineError, StageError


def test_a_failure_is_a_sentence_and_a_hint():
    assert StageError("it broke").render() == "error: it broke"
    assert StageError("it broke", "mend it").render() == "error: it broke\n\nhint: mend it"
    assert MachineError("no GPU").plain() == {"kind": "machine", "message": "no GPU", "hint": None}


def test_a_failure_crosses_processes_whole():
    copy = pickle.loads(pickle.dumps(StageError("it broke", "mend it")))
    assert (copy.message, copy.hint, type(copy)) == ("it broke", "mend it", StageError)


def test_an_interruption_says_how_to_go_on():
    assert Interrupted().code == 75 and Interrupted().hint == "run the same command again to go on"
