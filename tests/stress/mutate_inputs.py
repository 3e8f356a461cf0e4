"""Damage inputs in many ways: each is read, left out by its name, or refused; nothing is lost in silence.

    python tests/stress/mutate_inputs.py [--mutations 500] [--seed 0]

Of each format, plain and compressed, so many mutated files are planned and read under both policies. Under
`skip` every row that is listed is a document or a dropped one with a reason; under `error` the first bad one
is named in a ValueError. As many inputs are drawn of each kind of `text_kinds.py`: what is held out in
another form, labels of any type, odd names, long windows, pointers, and more. Prints what was found, and
stops at the first breach.
"""

import argparse
import gzip
import io
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).parent))

from text_kinds import KINDS
from text_kinds import outcome_of as outcome_of_kind

from longspan.corpora.documents import Document, Dropped, read_documents
from longspan.corpora.items import list_items
from longspan.corpora.repeats import mark_repeats
from longspan.store.contracts import BAD_DOCUMENT, DROP_REASONS

FORMATS = [f"{name}{ending}" for name in ("txt", "jsonl", "parquet") for ending in ("", ".gz", ".zst")]
TEXTS = ["the old house", "café, naïve", "日本語 🌊", "line one\nline two", "a", "the old house"]
SOURCE = {
    "category": "c",
    "license": "l",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "id_column": "id",
    "hold_out": [],
}


def valid_rows(draw):
    count = draw.randint(1, 40)
    return [{"id": f"row{number}", "text": draw.choice(TEXTS) + str(number % 7)} for number in range(count)]


def mutate_rows(rows, draw):
    """Rows with wrong types, missing columns, doubled ids, texts that are none."""
    row = draw.choice(rows)
    change = draw.randrange(8)
    if change == 0:
        row.pop("text")
    elif change == 1:
        row["text"] = draw.choice([None, 7, 1.5, ["a"], {"a": "b"}, True])
    elif change == 2:
        row["text"] = draw.choice(["", " \n", "\0", "a\0b", "\ufeff"])
    elif change == 3:
        row["id"] = draw.choice(["row0", "", None, 5])
    elif change == 4:
        row.clear()
    elif change == 5:
        rows.append(dict(row))
    elif change == 6:
        row["other"] = draw.choice([None, "x", 10**30, {"deep": [1, 2]}])
    return rows


def write_jsonl(rows, draw):
    lines = [json.dumps(row, ensure_ascii=draw.random() < 0.5) for row in rows]
    change = draw.randrange(9)
    place = draw.randrange(len(lines))
    if change == 0:
        lines[place] = lines[place][: draw.randrange(len(lines[place]))]
    elif change == 1:
        lines[place] = draw.choice(["", "null", "[]", '"text"', "NaN", "{'text': 1}", "[" * 5000, "9" * 9000])
    elif change == 2:
        lines[place] = '{"text": "lone \\ud83d surrogate"}'
    elif change == 3:
        lines.insert(place, "")
    elif change == 4:
        lines[place] += lines[place]
    content = [line.encode("utf-8", "surrogatepass") for line in lines]
    if change == 5:
        content[place] = lines[place].encode("utf-16")
    elif change == 6:
        content[place] = '{"text": "café"}'.encode("latin-1")
    return draw.choice([b"\n", b"\r\n"]).join(content) + draw.choice([b"", b"\n"])


def write_parquet(rows, draw):
    columns = {name: [row.get(name) for row in rows] for name in ("id", "text")}
    try:
        table = pa.table(columns)
    except (pa.ArrowException, TypeError):
        table = pa.table({name: [json.dumps(value) for value in values] for name, values in columns.items()})
    change = draw.randrange(6)
    if change == 0:
        table = table.drop_columns(["text"])
    elif change == 1:
        values = [draw.choice([b"a", b"caf\xe9", b"\xff\xfe"]) for _ in rows]
        table = table.set_column(1, "text", pa.array(values, pa.binary()).view(pa.string()))
    elif change == 2:
        table = table.set_column(1, "text", pa.array([b"bytes"] * len(rows), pa.binary()))
    elif change == 3:
        table = table.slice(0, 0)
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=draw.choice([1, 7, 1000]))
    return content.getvalue()


def write_txt(draw):
    text = " ".join(draw.choice(TEXTS) for _ in range(draw.randint(0, 50)))
    return text.encode(draw.choice(["utf-8", "utf-8", "utf-16", "cp1252"]), "replace")


def mutate_bytes(content, draw):
    """Bytes flipped, cut, inserted or doubled."""
    content = bytearray(content)
    if not content:
        return bytes(content)
    start = draw.randrange(len(content))
    stop = min(len(content), start + draw.randint(1, 40))
    change = draw.randrange(6)
    if change == 0:
        content[start] ^= 1 << draw.randrange(8)
    elif change == 1:
        del content[start:]
    elif change == 2:
        content[start:start] = draw.choice([b"\0", b"\xff", b"\n", b"\xed\xa0\xbd", b"\xef\xbb\xbf", b"\x1a"])
    elif change == 3:
        content[start:start] = content[start:stop]
    elif change == 4:
        del content[start:stop]
    return bytes(content)


def mutated(file_format, draw):
    """The content of one damaged file."""
    kind, _, compression = file_format.partition(".")
    if kind == "txt":
        content = write_txt(draw)
    else:
        rows = mutate_rows(valid_rows(draw), draw)
        content = write_jsonl(rows, draw) if kind == "jsonl" else write_parquet(rows, draw)
    if draw.random() < 0.5:
        content = mutate_bytes(content, draw)
    if compression:
        content = gzip.compress(content) if compression == "gz" else zstandard.compress(content)
        if draw.random() < 0.5:
            content = mutate_bytes(content, draw)
    return content


def outcome_of(read):
    """What a call gives, and the message with which it refuses."""
    try:
        return read(), ""
    except ValueError as error:
        return None, str(error)


def check(path: Path) -> str:
    """Read one file under both policies; what came of it."""
    listings, refusal = outcome_of(lambda: list_items(SOURCE, [path])[0])
    if "cannot be read here" in refusal:
        return "refused: a decoder's limit"
    if refusal:
        assert "gives no documents" in refusal, refusal
        return "refused: no documents"
    _, items = mark_repeats([], listings, [], drop_duplicates=True)
    found = list(read_documents(items, on_bad_document="skip"))
    assert len(found) == sum(len(listing.entries) for listing in listings), "a row was lost"
    kept = [one for one in found if isinstance(one, Document)]
    dropped = [one for one in found if isinstance(one, Dropped)]
    assert len({one.document_id for one in kept}) == len(kept), "an id is there twice"
    assert len({one.text for one in kept}) == len(kept), "a text is there twice"
    assert all(one.text.strip() and "\0" not in one.text and one.text.encode() for one in kept)
    assert {one.reason for one in dropped} <= set(DROP_REASONS)
    assert all(one.document_id and one.detail for one in dropped)
    bad = [one for one in dropped if one.reason in BAD_DOCUMENT]
    again, refusal = outcome_of(lambda: list(read_documents(items)))
    if bad:
        assert refusal.startswith(f"{bad[0].document_id} "), refusal
        assert f" {bad[0].detail}; correct it" in refusal, refusal
    else:
        assert again == found, refusal
    return ", ".join(sorted({one.reason for one in dropped})) or "all kept"


def stress(mutations: int, seed: int) -> dict[str, Counter]:
    """Outcomes of so many mutations of each format, and of so many inputs of each kind."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for file_format in FORMATS:
            outcomes[file_format] = Counter()
            for number in range(mutations):
                path = Path(folder, f"m.{file_format}")
                path.write_bytes(mutated(file_format, random.Random(f"{seed} {file_format} {number}")))
                try:
                    outcomes[file_format][check(path)] += 1
                except Exception as error:
                    raise AssertionError(
                        f"{file_format}, mutation {number} of seed {seed}: {error}"
                    ) from error
        for kind in KINDS:
            outcomes[kind] = Counter()
            for number in range(mutations):
                draw = random.Random(f"{seed} {kind} {number}")
                try:
                    outcomes[kind][outcome_of_kind(kind, Path(folder, "kind"), draw)] += 1
                except Exception as error:
                    raise AssertionError(f"{kind}, input {number} of seed {seed}: {error!r}") from error
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for file_format, counts in stress(arguments.mutations, arguments.seed).items():
        print(f"{file_format}: " + "; ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))


if __name__ == "__main__":
    main()
