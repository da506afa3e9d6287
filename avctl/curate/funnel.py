"""What became of the data, from what the crawl found to the clips that are kept.

Everything is in exactly one line of the funnel, with examples by name.
"""

from __future__ import annotations

import html
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from avctl.curate.assemble import Tables

EXAMPLES = 5  # names a line


def funnel(tables: Tables, losses: Sequence[tuple[str, str]], beyond_max_samples: int = 0) -> dict[str, Any]:
    """Counts and examples of a finished data set, plain data. `losses` are (reason, URL) of what the crawl found and
    holds no file of; files `beyond_max_samples` are there, and were not looked at."""
    names = {source["sha256"]: source["name"] for source in tables.sources}
    kept = [row for row in tables.clips if row["reason"] is None]
    dropped = [
        (row["reason"], f"{names[row['source_sha256']]} at {row['start_s']:.2f} s")
        for row in tables.clips
        if row["reason"]
    ]
    refused = [(row["reason"], row["name"]) for row in tables.refused]
    unfit = [source["name"] for source in tables.sources if not source["reason"] and not source["candidates"]]
    soundless = [source["name"] for source in tables.sources if not source["reason"] and source["has_sound"] is False]
    fell_back = [(source["fallback"], source["name"]) for source in tables.sources if source.get("fallback")]
    used = {row["source_sha256"] for row in kept}
    unused = [row["name"] for row in tables.sources if row["candidates"] and row["sha256"] not in used]
    places = sum(source["places"] for source in tables.sources)
    crawl = {"found": len(losses) + beyond_max_samples + len(tables.sources), "lost": _lines(losses)}
    return {
        "crawl": crawl | ({"beyond_max_samples": beyond_max_samples} if beyond_max_samples else {}),
        "files": {
            "given": len(tables.sources),
            "quarantined": _lines(refused),
            "too_short": _line(unfit),  # no shot with sound holds a clip
            "all_clips_dropped": _line(unused),
            "used": len(used),
            "without_sound": _line(soundless),  # their clips are pictures alone
            "fell_back": _lines(fell_back),  # decoded by PyAV, because the engine that was asked for could not
        },
        "clips": {
            "places": places,  # where a clip fits into a shot
            "beyond_max_clips": places - len(tables.clips),
            "candidates": len(tables.clips),
            "dropped": _lines(dropped),
            "kept": len(kept),
        },
        "splits": dict(sorted(Counter(row["split"] for row in kept).items())),
        "max_skew_samples": max((abs(row["skew"]) for row in kept), default=0.0),
        "max_padded_samples": max((row["padded"] for row in kept), default=0),
    }


def write_funnel(folder: Path, counts: dict[str, Any]) -> None:
    """`funnel.html` to look at and `funnel.json` to read."""
    write_page(folder, counts)
    (folder / "funnel.json").write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")


def write_page(folder: Path, counts: dict[str, Any]) -> None:
    """`funnel.html` alone."""
    (folder / "funnel.html").write_text(_page(counts))


def _lines(reasons: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Count and first examples by reason, the most frequent reason first."""
    names: dict[str, list[str]] = defaultdict(list)
    for reason, name in reasons:
        names[reason].append(name)
    return {reason: _line(names[reason]) for reason in sorted(names, key=lambda reason: (-len(names[reason]), reason))}


def _line(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "examples": names[:EXAMPLES]}


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } td { padding: .2rem .5rem; vertical-align: top }
td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums } td:nth-child(3) { width: 40% }
.bar { background: #4a7ab5; height: 1.1em } .lost { background: #c8683f } small { color: #666; overflow-wrap: anywhere }
"""


def _page(counts: dict[str, Any]) -> str:
    crawl, files, clips = counts["crawl"], counts["files"], counts["clips"]
    crawl_rows = [("found", crawl["found"], [], False)]
    crawl_rows += [(reason, *_cells(line)) for reason, line in crawl["lost"].items()]
    if "beyond_max_samples" in crawl:
        crawl_rows += [("beyond max_samples", crawl["beyond_max_samples"], [], True)]
    crawl_rows += [("files", files["given"], [], False)]
    file_rows = [("files given", files["given"], [], False)]
    file_rows += [(f"quarantined: {reason}", *_cells(line)) for reason, line in files["quarantined"].items()]
    file_rows += [("no shot holds a clip", *_cells(files["too_short"]))]
    file_rows += [
        ("every clip dropped", *_cells(files["all_clips_dropped"])),
        ("files used", files["used"], [], False),
    ]
    if files["without_sound"]["count"]:
        file_rows += [("without sound", *_cells(files["without_sound"]))]
    file_rows += [(f"decoded by PyAV: {reason}", *_cells(line)) for reason, line in files["fell_back"].items()]
    clip_rows = [("clips that fit", clips["places"], [], False)]
    clip_rows += [("beyond max_clips", clips["beyond_max_clips"], [], True)]
    clip_rows += [(f"dropped: {reason}", *_cells(line)) for reason, line in clips["dropped"].items()]
    clip_rows += [("clips kept", clips["kept"], [], False)]
    clip_rows += [(f"in split {name}", count, [], False) for name, count in counts["splits"].items()]
    skew = f"Largest skew between sound and picture: {counts['max_skew_samples']:.3f} samples."
    return (
        f'<!doctype html><meta charset="utf-8"><title>Funnel</title><style>{_STYLE}</style>'
        f"<h1>What became of the data</h1>"
        f"<h2>Crawl</h2>{_table(crawl_rows)}<h2>Files</h2>{_table(file_rows)}<h2>Clips</h2>{_table(clip_rows)}<p>{skew}</p>"
    )


def _cells(line: dict[str, Any]) -> tuple[int, list[str], bool]:
    return line["count"], line["examples"], True


def _table(rows: Iterable[tuple[str, int, list[str], bool]]) -> str:
    rows = list(rows)
    most = max(1, *(count for _, count, _, _ in rows))
    return f"<table>{''.join(_table_row(*row, most) for row in rows)}</table>"


def _table_row(label: str, count: int, examples: list[str], is_loss: bool, most: int) -> str:
    names = f"<br><small>{html.escape(', '.join(examples))}</small>" if examples else ""
    bar = f'<div class="bar{" lost" if is_loss else ""}" style="width:{100 * count / most:.1f}%"></div>'
    return f"<tr><td>{html.escape(label)}{names}</td><td>{count:,}</td><td>{bar}</td></tr>"
