import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avctl.crawl.frontier import Item
from avctl.crawl.sources.manifest import read_manifest
from avctl.crawl.url import file_url
from avctl.job import InputError

ROWS = [
    {"url": "HTTP://H/a.mp4", "caption": "a dog, barking\nloudly", "licence": "CC0", "split": "test"},
    {"path": "films/ä b.mp4", "caption": None, "licence": "", "split": None},
]


def expected(manifest: Path) -> list[Item]:
    source = f"manifest:{manifest}"
    about = {"caption": "a dog, barking\nloudly", "licence": "CC0", "split": "test"}
    local = file_url(manifest.parent / "films" / "ä b.mp4")
    return [Item("http://h/a.mp4", "", source, **about), Item(local, "", source)]  # pyright: ignore[reportArgumentType]


def test_csv_jsonl_and_parquet_say_the_same(tmp_path: Path) -> None:
    head = "url,path,caption,licence,split,comment\r\n"
    text = head + 'HTTP://H/a.mp4,,"a dog, barking\nloudly",CC0,test,x\r\n,films/ä b.mp4,,,,\r\n'
    (tmp_path / "a.csv").write_text(text, "utf-8-sig", newline="")
    (tmp_path / "a.tsv").write_text(text.replace(",", "\t").replace("dog\t", "dog,"), newline="")
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(row) for row in ROWS) + "\n")
    columns = ("url", "path", "caption", "licence", "split")
    pq.write_table(pa.table({name: [row.get(name) for row in ROWS] for name in columns}), tmp_path / "a.parquet")
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        manifest = tmp_path / f"a.{suffix}"
        assert list(read_manifest(manifest)) == expected(manifest)


def test_truth_is_taken_as_text_or_as_an_object(tmp_path: Path) -> None:
    truth = {"events_s": [0.5], "colour": "red"}
    rows = [{"url": "http://h/1", "truth": truth}, {"url": "http://h/2", "truth": json.dumps(truth)}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert [item.truth for item in read_manifest(tmp_path / "a.jsonl")] == [json.dumps(truth, sort_keys=True)] * 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"caption": "no address"}', "bad_row"),
        ('{"url": "http://h/a", "path": "a.mp4"}', "bad_row"),
        ('{"url": "file:///etc/passwd"}', "bad_url"),
        ('{"url": 7}', "bad_row"),
        ('{"path": "a\\u0000b"}', "bad_row"),
        ('{"url": "http://h/a", "split": "training"}', "bad_row"),
        ('{"url": "http://h/a", "truth": "{"}', "bad_row"),
        ('{"url": "http://h/a", "truth": [1]}', "bad_row"),
        ('{"url": "http://h/a", "caption": ["x"]}', "bad_row"),
        ('["http://h/a"]', "bad_row"),
        ('{"url": "http://h/a"', "bad_row"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_next_ones_are_read(tmp_path: Path, row: str, reason: str) -> None:
    manifest = tmp_path / "a.jsonl"
    manifest.write_text(f'{{"url": "http://h/1"}}\n{row}\n{{"url": "http://h/3"}}\n')
    first, bad, third = read_manifest(manifest)
    assert (first.url, third.url) == ("http://h/1", "http://h/3")
    assert bad.refusal is not None and bad.refusal[0] == reason
    assert bad.url == f"{file_url(manifest)}#row=2"


def test_a_comma_that_is_not_quoted_cuts_no_caption(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('url,caption\nhttp://h/a,a dog, barking\nhttp://h/b,"a dog, barking"\n')
    first, second = read_manifest(tmp_path / "a.csv")
    assert first.refusal and first.refusal[0] == "bad_row" and "more cells" in first.refusal[1]
    assert second.caption == "a dog, barking"


@pytest.mark.parametrize(("column", "meant"), [("captoin", "caption"), ("Caption", "caption"), ("license", "licence")])
def test_a_column_that_looks_like_one_of_ours_is_not_left_alone(tmp_path: Path, column: str, meant: str) -> None:
    (tmp_path / "a.csv").write_text(f"url,{column},rating\nhttp://h/a,x,5\n")
    with pytest.raises(InputError, match=f"a column `{column}`") as caught:
        list(read_manifest(tmp_path / "a.csv"))
    assert caught.value.hint == f"did you mean `{meant}`?"


def test_a_table_that_cannot_be_read_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("link,caption\nhttp://h/a,x\n")
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    (tmp_path / "c.xlsx").write_bytes(b"")
    (tmp_path / "d.csv").write_bytes(b"url\n\xff\xfe\n")
    (tmp_path / "e.csv").write_bytes(b"")
    for name in ("a.csv", "b.parquet", "c.xlsx", "d.csv", "e.csv", "gone.csv"):
        with pytest.raises(InputError, match=name):
            list(read_manifest(tmp_path / name))
