"""What a synthetic source knows about itself, told on the clock of one clip."""

from __future__ import annotations

import json


def shift(truth: str | None, start_s: float, seconds: float) -> str | None:
    """The JSON sidecar with `events_s` moved to the clip's clock; events outside the clip are left out, and of
    `event_kinds` theirs."""
    if truth is None:
        return None
    values = json.loads(truth)
    if "events_s" in values:
        times = [time - start_s for time in values["events_s"]]
        inside = [k for k, time in enumerate(times) if 0 <= time < seconds]
        values["events_s"] = [round(times[k], 9) for k in inside]
        if "event_kinds" in values:
            values["event_kinds"] = [values["event_kinds"][k] for k in inside]
    return json.dumps(values, sort_keys=True)
