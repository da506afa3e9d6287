"""What a synthetic source knows about itself, told on the clock of one clip."""

from __future__ import annotations

import json


def shift(truth: str | None, start_s: float, seconds: float) -> str | None:
    """The JSON sidecar with `events_s` moved to the clip's clock; events outside the clip are left out."""
    if truth is None:
        return None
    values = json.loads(truth)
    if "events_s" in values:
        moved = (time - start_s for time in values["events_s"])
        values["events_s"] = [round(time, 9) for time in moved if 0 <= time < seconds]
    return json.dumps(values, sort_keys=True)
