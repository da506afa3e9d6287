"""A line of the results has all that was measured, or says why nothing was."""

from __future__ import annotations

import json

from benches.frame import Row


def test_a_line_has_the_values_their_spread_and_what_else_is_known() -> None:
    row = Row("b", "w", "us", "c", (4.0, 1.0, 3.0, 2.0, 5.0), {"rows": 8})
    line = json.loads(row.to_json({"commit": "0"}))
    assert line == {
        "bench": "b", "what": "w", "unit": "us", "command": "c", "values": [4.0, 1.0, 3.0, 2.0, 5.0], "rows": 8,
        "failure": None, "median": 3.0, "quarter": 2.0, "three_quarters": 4.0, "low": 1.0, "high": 5.0, "runs": 5,
        "commit": "0",
    }  # fmt: skip


def test_one_value_is_its_own_spread_and_what_failed_has_none() -> None:
    assert set(Row("b", "w", "us", "c", (7.0,)).spread().values()) == {7.0, 1}
    line = json.loads(Row("b", "w", "us", "c", (), failure="too hot").to_json({}))
    assert line["failure"] == "too hot" and line["runs"] == 0 and "median" not in line
