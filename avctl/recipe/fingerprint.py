"""A short name for what a stage will compute, stable across machines and across cosmetic edits.

fp = sha256(canonical JSON of stage, version, sections, inputs)[:12]. A path stands for its content, never its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from avctl.recipe.spec import Spec, fields

Content = Callable[[Path], str]
StandIn = Callable[[Spec], Any]


def fingerprint(
    stage: str,
    version: int,
    sections: Mapping[str, Any],
    inputs: Mapping[str, str],
    content: Content,
    stand_in: StandIn = lambda spec: None,
) -> str:
    """Twelve hex digits. `content` hashes an outside file or folder; `stand_in` may give data for a whole section.

    Raises ValueError for NaN or infinity.
    """
    reads = {name: plain(value, content, stand_in) for name, value in sections.items()}
    body = {"stage": stage, "version": version, "reads": reads, "inputs": dict(inputs)}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plain(value: Any, content: Content, stand_in: StandIn = lambda spec: None) -> Any:
    """`value` as JSON data. A field marked `added` is left out while it has its neutral value."""
    match value:
        case Spec():
            instead = stand_in(value)
            return _section(value, content, stand_in) if instead is None else instead
        case tuple():
            return [plain(item, content, stand_in) for item in value]
        case Path():
            return content(value)
    return value


def _section(spec: Spec, content: Content, stand_in: StandIn) -> dict[str, Any]:
    data = {}
    for name, value in fields(spec).items():
        info = type(spec).model_fields[name]
        extra = info.json_schema_extra
        if not (isinstance(extra, dict) and extra.get("added") and value == info.default):
            data[name] = plain(value, content, stand_in)
    return data
