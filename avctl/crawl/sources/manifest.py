"""A table of files: CSV, JSONL or Parquet, with a column `url` or `path` and what is known of each.

Columns: `url` (http or https) or `path` (relative to the table), `caption`, `licence`, `split`, `truth` (JSON). Other
columns are left alone, unless they look like one of these misspelt. A row that cannot be used is a dead letter that
names the row, the first being 1.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avctl.crawl.frontier import Item
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import canonical, file_url
from avctl.job import InputError

_COLUMNS = ("url", "path", "caption", "licence", "split", "truth")
_SPLITS = ("train", "valid", "test", "unseen")
_HINT = "a manifest is a .csv, .tsv, .jsonl or .parquet file with a column `url` or `path`"

_Row = Mapping[str, Any]


def read_manifest(path: Path) -> Iterator[Item]:
    """Items of the table in row order. Raises `InputError` for a table that cannot be read."""
    if not path.is_file():
        raise InputError(f"the manifest `{path}` does not exist", hint=_HINT)
    try:
        for number, row in enumerate(_rows(path), start=1):
            yield _item(row, number, path)
    except (OSError, UnicodeError, csv.Error, pa.ArrowInvalid) as error:
        raise InputError(f"the manifest `{path}` cannot be read: {error}", hint=_HINT) from error


def _rows(path: Path) -> Iterator[_Row | FetchFailure]:
    match path.suffix.lower():
        case ".csv":
            return _delimited(path, ",")
        case ".tsv":
            return _delimited(path, "\t")
        case ".jsonl" | ".ndjson":
            return _lines(path)
        case ".parquet":
            return _parquet(path)
    raise InputError(f"the manifest `{path}` is of no known kind", hint=_HINT)


def _delimited(path: Path, delimiter: str) -> Iterator[_Row | FetchFailure]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, delimiter=delimiter)
        _check_columns(table.fieldnames or (), path)
        for row in table:
            surplus = row.get(None)  # pyright: ignore[reportArgumentType]  # where DictReader puts it
            yield FetchFailure("bad_row", "it has more cells than there are columns; quote commas") if surplus else row


def _lines(path: Path) -> Iterator[_Row | FetchFailure]:
    with path.open(encoding="utf-8-sig") as file:
        for line in filter(str.strip, file):
            try:
                row = json.loads(line)
                yield row if isinstance(row, dict) else FetchFailure("bad_row", "not a JSON object")
            except json.JSONDecodeError as error:
                yield FetchFailure("bad_row", f"not JSON: {error}")


def _parquet(path: Path) -> Iterator[_Row]:
    with pq.ParquetFile(path) as table:
        _check_columns(table.schema_arrow.names, path)
        for batch in table.iter_batches():
            yield from batch.to_pylist()


def _check_columns(names: Any, path: Path) -> None:
    if not {"url", "path"} & set(names):
        raise InputError(f"the manifest `{path}` has the columns {', '.join(names) or 'none'}", hint=_HINT)
    for name in names:
        meant = difflib.get_close_matches(str(name).lower(), _COLUMNS, n=1, cutoff=0.8)
        if meant and name not in _COLUMNS:
            raise InputError(f"the manifest `{path}` has a column `{name}`", hint=f"did you mean `{meant[0]}`?")


def _item(row: _Row | FetchFailure, number: int, manifest: Path) -> Item:
    source = f"manifest:{manifest}"
    try:
        if isinstance(row, FetchFailure):
            raise row
        caption, licence = _text(row, "caption"), _text(row, "licence")
        url, split, truth = _url(row, manifest), _split(row), _truth(row)
        return Item(url, "", source, caption=caption, licence=licence, split=split, truth=truth)
    except FetchFailure as failure:
        return Item(f"{file_url(manifest)}#row={number}", "", source, refusal=(failure.reason, failure.detail))


def _url(row: _Row, manifest: Path) -> str:
    url, path = _text(row, "url"), _text(row, "path")
    if (url is None) == (path is None):
        raise FetchFailure(
            "bad_row", "it has neither `url` nor `path`" if url is None else "it has both `url` and `path`"
        )
    if url is not None:
        return canonical(url)
    if "\0" in str(path):
        raise FetchFailure("bad_row", "`path` holds a zero byte")
    return file_url(manifest.parent / str(path))


def _split(row: _Row) -> str | None:
    split = _text(row, "split")
    if split not in (None, *_SPLITS):
        raise FetchFailure("bad_row", f"`{split}` is no split; there are {', '.join(_SPLITS)}")
    return split


def _truth(row: _Row) -> str | None:
    """The column `truth` as JSON text: an object, or text that holds one."""
    value = row.get("truth")
    if value is None or value == "":
        return None
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        if not isinstance(parsed, dict):
            raise TypeError
        return json.dumps(parsed, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        raise FetchFailure("bad_row", "`truth` is not a JSON object") from None


def _text(row: _Row, name: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise FetchFailure("bad_row", f"`{name}` is not text")
    return value
