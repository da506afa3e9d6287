from __future__ import annotations

import pytest

from avctl.cli.table import print_table, size


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]):
    print_table([{"a": "long value", "b": True}, {"a": (1,), "b": None}], "nothing")
    assert capsys.readouterr().out == "a           b\nlong value  yes\n(1,)        none\n"


def test_no_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]):
    print_table([], "nothing")
    assert capsys.readouterr().out == "nothing\n"


def test_sizes_are_short():
    assert [size(n) for n in (0, 999, 1_000, 3_140_000, 8e14)] == ["0 B", "999 B", "1 kB", "3.14 MB", "800 TB"]
