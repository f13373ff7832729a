"""Every container of rows: what each gives, and what is said of a file that is none."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from components.data import containers, table_files
from components.data.cells import UnreadableRow, cell_text
from components.data.problem_files import describe_file, read_problems
from components.data.readers import fetch, read_records, rows_digest
from components.dataflow.errors import InputError

ROWS = [{"problem": f"What is {n} × 3?", "answer": str(3 * n)} for n in range(4)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = pa.Table.from_pylist(ROWS)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def arrow(table: pa.Table, make: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    with make(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def delimited(sign: str) -> bytes:
    return "\r\n".join([f"problem{sign}answer", *(f'"{row["problem"]}"{sign}{row["answer"]}' for row in ROWS)]).encode()


FILES = {
    "plain.jsonl": LINES.encode(),
    "windows.jsonl": b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode(),
    "blank.jsonl": ("\n" + LINES.replace("\n", "\n\n  \n")).encode(),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "array on a line.jsonl": (" " + json.dumps(ROWS)).encode(),
    "rows.jsonl.gz": gzip.compress(LINES.encode()),
    "gzip without a name": gzip.compress(LINES.encode()),
    "two members.gz": gzip.compress(LINES[:40].encode()) + gzip.compress(LINES[40:].encode()),
    "rows.bz2": bz2.compress(LINES.encode()),
    "rows.jsonl.xz": lzma.compress(LINES.encode()),
    "rows.jsonl.zst": zstd(LINES.encode()),
    "array.json.gz": gzip.compress(json.dumps(ROWS).encode()),
    "rows.csv": delimited(","),
    "excel.csv": b"\xef\xbb\xbf" + delimited(";"),
    "rows.TSV": delimited("\t"),
    "rows.csv.gz": gzip.compress(delimited(",")),
    "rows.parquet": parquet(TABLE),
    "rows.PQ": parquet(TABLE),
    "parquet without a name": parquet(TABLE),
    "stream.arrow": arrow(TABLE, pa.ipc.new_stream),
    "file.arrow": arrow(TABLE, pa.ipc.new_file),
}


@pytest.mark.parametrize("name", FILES)
def test_a_container_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert list(read_records(path)) == ROWS
    assert list(read_records(path, 2)) == ROWS[:2]


REFUSED = {
    "lfs.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
    "rows.zip": (b"PK\x03\x04" + LINES.encode(), "a ZIP archive: unpack it"),
    "rows.jsonl": (LINES.encode("utf-16"), "is UTF-16: save it as UTF-8"),
    "page.jsonl": (b"<!DOCTYPE html><html>404</html>", "is a web page"),
    "cut.jsonl": (LINES.encode()[:-9], "row 3 is not JSON"),
    "object.json": (json.dumps({"train": ROWS}, indent=1).encode(), "is one JSON object, with the keys train"),
    "objects.json": ((json.dumps(ROWS[0], indent=1) * 2).encode(), "row 0 is not JSON"),
    "pickle.jsonl": (b"\x80\x04\x95\n\x00\x00\x00\x00\x8c\x07problem", "is binary and of no kind that is read"),
    "keys.json": (json.dumps({"What is it? " * 40: "7"}, indent=1).encode(), "is one JSON object, with the keys What"),
    "list.jsonl": (LINES.encode() + b"7\n", "row 4 is not a JSON object"),
    "items.json": (json.dumps([*ROWS, 2]).encode(), "item 4 of the array is not a JSON object"),
    "cut.json": (b'[{"a": 1}, {"a"', "is no sound JSON array"),
    "cut.gz": (gzip.compress(LINES.encode())[:-9], "cannot be read"),
    "cut.parquet": (parquet(TABLE)[:-9], "is no sound Parquet file"),
    "cut.arrow": (arrow(TABLE, pa.ipc.new_file)[:-9], "is no sound Arrow file"),
    "twice.csv": (b"a,a\n1,2\n", "names a column twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_none_is_named_in_a_line(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        list(read_records(path))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "\n" not in message
    assert len(message) - len(str(path)) <= 250


def test_one_odd_row_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    odd = [b"[" * 200_000, b'{"a": ' * 200_000, b'{"answer": "\xff\xfe"}', b'{"answer": ' + b"9" * 5000 + b"}"]
    path.write_bytes(b"\n".join([LINES.encode().splitlines()[0], *odd, LINES.encode().splitlines()[1]]))
    rows = list(read_records(path))
    assert [row for row in rows if row in ROWS] == ROWS[:2]
    assert [row.why for row in rows if isinstance(row, UnreadableRow)] == ["it is nested too deep"] * 2 + [
        "it is not UTF-8"
    ]
    assert repr(rows[4]["answer"]) == "a number of 5,000 digits"


def test_a_cell_of_parquet_that_cannot_be_held_harms_no_other(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    far = pa.array([0, 1 << 62], pa.timestamp("us"))
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"problem": ["p", "q"], "text": text, "when": far}), path)
    one, two = read_records(path)
    assert (one["problem"], one["text"]) == ("p", "a")
    assert two["problem"] == "q"
    assert repr(two["text"]) == "text that is not UTF-8"
    assert "beyond what can be read" in repr(two["when"])


def test_a_row_of_csv_with_other_cells_than_the_header_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(b'problem,answer\np,1\nq\n"two\nlines",\n\xff,2\n')
    one, two, three, four = read_records(path)
    assert one == {"problem": "p", "answer": "1"}
    assert isinstance(two, UnreadableRow)
    assert two.why == "it has 1 cells for 2 columns"
    assert three == {"problem": "two\nlines", "answer": None}
    assert four["problem"] == "\udcff"  # whoever reads it says that it is no text


def test_what_unfolds_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "_UNFOLDED", 1 << 20)
    monkeypatch.setattr(containers, "_LONGEST_ROW", 1 << 22)
    bomb = tmp_path / "bomb.jsonl.gz"
    bomb.write_bytes(gzip.compress(b'{"a": "' + b"x" * (1 << 21) + b'"}\n'))
    with pytest.raises(InputError, match=r"unfolds from [\d,]+ bytes to over 2 MiB"):
        list(read_records(bomb))
    line = tmp_path / "line.jsonl.gz"
    line.write_bytes(gzip.compress(b'{"a": "' + os.urandom(1 << 15).hex().encode() * 100 + b'"}\n'))
    with pytest.raises(InputError, match="row 0 has over 4 MiB"):
        list(read_records(line))
    table = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"a": ["x" * (1 << 14)] * 1000}), table)
    with pytest.raises(InputError, match="unfolds from"):
        list(read_records(table))


def shards(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(2):
        pq.write_table(TABLE[2 * number : 2 * number + 2], folder / f"train-0000{number}-of-00002.parquet")
    (folder / "README.md").write_text("# A dataset")
    (folder / "dataset_infos.json").write_text("{}")
    (folder / ".gitattributes").write_text("*.parquet filter=lfs")
    return folder


def test_folders_and_globs_of_shards_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    folder = shards(tmp_path / "snapshot" / "data")
    for place in (folder, folder.parent, folder / "train-*.parquet", tmp_path / "**" / "*.parquet"):
        assert list(read_records(place)) == ROWS
    assert rows_digest(folder) == rows_digest(folder / "*.parquet")
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "b.jsonl").write_text(LINES.splitlines()[1])
    (lines / "a.jsonl.gz").write_bytes(gzip.compress(LINES.splitlines()[0].encode()))
    assert list(read_records(lines)) == ROWS[:2]
    with pytest.raises(InputError, match="no file matches it"):
        list(read_records(tmp_path / "none-*"))
    with pytest.raises(InputError, match="there is no such file"):
        list(read_records(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file of rows"):
        list(read_records(tmp_path / "empty"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no file and no folder"):
        list(read_records(tmp_path / "pipe"))
    (folder / "test-00000-of-00001.parquet").write_bytes(parquet(TABLE))
    with pytest.raises(InputError, match="holds the splits test, train: name one"):
        list(read_records(folder))


def test_what_datasets_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(ROWS)
    whole.save_to_disk(tmp_path / "one", num_shards=2)
    assert list(read_records(tmp_path / "one")) == ROWS
    datasets.DatasetDict(train=whole, test=whole).save_to_disk(tmp_path / "both")
    with pytest.raises(InputError, match="holds the splits test, train: name the folder of one"):
        list(read_records(tmp_path / "both"))
    assert list(read_records(tmp_path / "both" / "test")) == ROWS


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="is empty, as an unset shell variable leaves it"):
        fetch("")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["train/0.jsonl", "test/0.jsonl"], "holds the splits test, train: name one"),
        (["my_train.jsonl", "my-test.jsonl"], "holds the splits test, train: name one"),
        (["rows.jsonl", "rows.csv"], "holds files of several kinds (.csv, .jsonl)"),
        (["rows.jsonl", "rows.jsonl.gz"], "holds 'rows.jsonl' twice, once compressed"),
    ],
)
def test_files_that_are_not_one_set_of_rows_are_refused(tmp_path: Path, names: list[str], why: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(LINES)
    for path in (tmp_path, tmp_path / "**" / "*.*"):
        with pytest.raises(InputError, match=re.escape(why)):
            list(read_records(path))


def test_a_folder_that_is_named_like_a_file_is_no_file(tmp_path: Path) -> None:
    """Spark's `rows.parquet` is a folder."""
    (tmp_path / "rows.parquet").mkdir()
    pq.write_table(TABLE, tmp_path / "rows.parquet" / "part-00000.snappy.parquet")
    assert list(read_records(tmp_path)) == list(read_records(tmp_path / "rows.parquet")) == ROWS


def test_a_latest_training_is_no_split(tmp_path: Path) -> None:
    for name in ("latest.jsonl", "training.jsonl"):
        (tmp_path / name).write_text(LINES)
    assert len(list(read_records(tmp_path))) == 2 * len(ROWS)


def test_an_open_quote_swallows_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('problem,answer\np,1\n"q,2\nr,3\ns,4\n')
    with pytest.raises(InputError, match="has quotes that are not doubled, or not closed"):
        list(read_records(path))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table([["p"], ["1"], ["2"]], names=["problem", "answer", "answer"]), path)
    with pytest.raises(InputError, match="it has the column 'answer' twice"):
        list(read_records(path))


def test_an_odd_item_of_an_array_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"problem": "\xff"}, {"problem": "q"}]')
    assert [cell_text(row, "problem")[0] for row in read_records(path)] == ["", "q"]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
def test_a_dictionary_counts_as_the_text_that_it_stands_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_UNFOLDED", 1 << 20)
    path = tmp_path / name

    def write(text: str, rows: int) -> Path:
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
        table = pa.table({"problem": column})
        path.write_bytes(parquet(table) if name == "rows.parquet" else arrow(table, pa.ipc.new_file))
        return path

    with pytest.raises(InputError, match="unfolds from"):
        list(read_records(write("x" * 100_000, 3000)))
    assert len(list(read_records(write("x" * 1000, 500)))) == 500  # each of its pieces has the dictionary


def test_a_link_to_nothing_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "part-0.jsonl").write_text(LINES)
    (tmp_path / "part-1.jsonl").symlink_to(tmp_path / "nothing")
    for path in (tmp_path, tmp_path / "part-*"):
        with pytest.raises(InputError, match=r"part-1.jsonl: is no file, or a link to none"):
            list(read_records(path))


def test_columns_that_nobody_reads_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wide.parquet"
    rows = [row | {"model": {"answer": row["answer"]}, "image": os.urandom(10)} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert list(read_records(path, columns={"answer", "nothing"})) == [{"answer": row["answer"]} for row in ROWS]
    assert list(read_records(path, columns={"nothing"})) == rows
    asked: list[object] = []
    batches = pq.ParquetFile.iter_batches

    def iter_batches(file: pq.ParquetFile, size: int, columns: list[str] | None = None) -> object:
        asked.append(columns)
        return batches(file, size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    file = describe_file(path, answer_column="model.answer")
    assert [row["ground_truth_answer"] for row in read_problems(path, file, "test")] == [row["answer"] for row in ROWS]
    assert asked[-1] == ["problem", "model"]
