"""Inputs of kinds that people's own texts have: each draws one, reads it, and says what came of it.

`mutate_inputs.py` runs them. An AssertionError is a breach: something was lost, or kept, in silence.
"""

import contextlib
import datetime
import gzip
import io
import json
import os
import shutil
import struct
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
import zstandard

from longspan.corpora.clean_up import CleanUp
from longspan.corpora.compared_text import comparison_digest
from longspan.corpora.documents import Document, read_documents
from longspan.corpora.held_out import mark_held_out
from longspan.corpora.items import list_items
from longspan.corpora.ngrams import references_of
from longspan.corpora.raw_paths import passed_over, raw_paths
from longspan.corpora.repeats import mark_repeats
from longspan.exports.windows import LineWriter
from longspan.store.contracts import BAD_DOCUMENT, DROP_REASONS

SOURCE = {
    "category": "c",
    "license": "l",
    "encoding": "utf-8",
    "boilerplate": "none",
    "text_column": "text",
    "hold_out": False,
}
_TEXT = "the old house café naïve École by a river ſtill ﬁne 日本語 の 本 ไทย ½ İstanbul Ωmega"
WORDS = _TEXT.split()
_ENGLISH = "the old captain found a lantern under that bridge while she whispered about Zürich déjà vu"


def sentence(draw, words=12):
    return " ".join(draw.choice(WORDS) for _ in range(words))


def listed(paths, **settings):
    training, held_out = list_items(SOURCE | settings, paths)
    return held_out or training


def read(listings, held_out=(), **policy):
    items = mark_repeats([], mark_held_out(list(held_out), listings), [], drop_duplicates=False)[1]
    return list(read_documents(items, **policy))


def outcome_or_refusal(call):
    """What a call gives, and the message with which it refuses."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


def checked(listings, held_out=()):
    """(kept, dropped) under `skip`, which lose nothing, and name under `error` the first bad one."""
    found = read(listings, held_out, on_bad_document="skip")
    assert len(found) == sum(len(listing.entries) for listing in listings), "a row was lost"
    kept = [one for one in found if isinstance(one, Document)]
    dropped = [one for one in found if not isinstance(one, Document)]
    for one in found:
        f"{one.document_id}{one.title}".encode()
    assert len({one.document_id for one in kept}) == len(kept), "an id is there twice"
    assert {one.reason for one in dropped} <= set(DROP_REASONS)
    assert all(one.detail for one in dropped)
    bad = [one for one in dropped if one.reason in BAD_DOCUMENT]
    again, refusal = outcome_or_refusal(lambda: read(listings, held_out))
    assert again == found or bad
    assert bool(bad) == bool(refusal), refusal
    assert not bad or bad[0].detail in refusal
    return kept, dropped


def reasons(dropped):
    return ", ".join(sorted({one.reason for one in dropped})) or "all kept"


def held_out_copy(folder, draw):
    """A held-out text in another file of any form, beside others."""
    text = "\n".join(sentence(draw) for _ in range(draw.randint(1, 5)))
    work = folder / "work.txt"
    work.write_text(text)
    settings, path = {}, folder / "copy.txt"
    form = draw.choice([str, str.strip, lambda text: text.replace("\n", " "), lambda text: text + "\n\n"])
    copy = unicodedata.normalize(draw.choice(["NFC", "NFD"]), form(text))
    copy = copy.replace("\n", draw.choice(["\n", "\r\n", "\r"]))
    copy = draw.choice(["", "\ufeff"]) + copy
    rows = [{"text": sentence(draw), "book": "x"}, {"text": copy, "book": "x"}]
    way = draw.choice(["file", "wide", "row", "parquet", "group", "link", "hard link"])
    if way in ("row", "group"):
        path = folder / "copy.jsonl"
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        settings = {"group_by": "book"} if way == "group" else {}
    elif way == "parquet":
        path, content = folder / "copy.parquet", io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), content)
        content = content.getvalue()
    elif way == "wide":
        settings = {"encoding": draw.choice(["utf-16", "UTF_16", "utf-16-le", "utf-32"])}
        content = copy.encode(settings["encoding"])
    else:
        settings = {"encoding": draw.choice(["utf-8", "UTF-8", "utf8", "utf-8-sig"])}
        content = copy.encode()
    if "link" in way:
        (os.link if way == "hard link" else os.symlink)(work, path)
        settings = {"boilerplate": draw.choice(["none", "gutenberg"])}
    else:
        ending = draw.choice(["", ".gz", ".zst"])
        path = path.with_name(path.name + ending)
        pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[ending]
        path.write_bytes(pack(content) + (bytes(draw.randrange(600)) if ending == ".gz" else b""))
    kept, dropped = checked(listed([path], **settings), listed([work], hold_out=True))
    assert any(one.reason == "held out" for one in dropped), f"{way}: kept"
    assert comparison_digest(text) not in {comparison_digest(one.text) for one in kept}
    return f"{way}: {reasons(dropped)}"


def label(folder, draw):
    """A title, id or group of any type."""
    values = [
        "The sea \ud83c",
        "a\0b",
        ["x"],
        {"a": 1},
        7,
        0,
        1.5,
        float("nan"),
        True,
        None,
        "",
        "é",
        "\u2028",
    ]
    column = draw.choice(["title_column", "id_column", "group_by"])
    rows = [{"text": sentence(draw), "label": f"row {number}"} for number in range(5)]
    for row in draw.sample(rows, draw.randint(1, 3)):
        row["label"] = draw.choice(values)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if draw.random() < 0.4:
        typed = draw.choice(
            [
                pa.array([draw.choice([0, 10**6, 3_652_060]) for _ in rows], pa.int32()).view(pa.date32()),
                pa.array([draw.choice([b"a", b"caf\xe9", None]) for _ in rows]),
                pa.array([datetime.timedelta(draw.randrange(9)) for _ in rows]),
                pa.array([draw.choice([["x"], None]) for _ in rows]),
                pa.array([draw.choice(["a", "b"]) for _ in rows]).dictionary_encode(),
                pa.array(range(5), pa.int64()).view(pa.timestamp("ns", tz=draw.choice(["UTC", "No/Zone"]))),
            ]
        )
        path = folder / "rows.parquet"
        pq.write_table(pa.table({"text": [row["text"] for row in rows], "label": typed}), path)
    listings, refusal = outcome_or_refusal(lambda: listed([path], **{column: "label"}))
    if refusal:
        assert "do not stand together" in refusal, refusal
        return "refused: rows of a group apart"
    return f"{column}: {reasons(checked(listings)[1])}"


def other_column(folder, draw):
    """A column that is not asked for, of whatever type and state."""
    texts = [sentence(draw) for _ in range(40)]
    column = draw.choice(
        [
            pa.array([draw.choice([0, 3_652_060, -(10**6)]) for _ in texts], pa.int32()).view(pa.date32()),
            pa.array([2**62] * 40, pa.int64()).view(pa.timestamp(draw.choice(["ms", "us"]))),
            pa.array([1] * 40, pa.int64()).view(pa.timestamp("us", tz="US/Pacific-New")),
            pa.array([b"\xff"] * 40).view(pa.binary()).view(pa.string()),
            pa.array([[{"deep": [1]}]] * 40),
        ]
    )
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"text": texts, "other": column}), path, row_group_size=draw.choice([7, 100]))
    if draw.random() < 0.5:
        content = bytearray(path.read_bytes())
        metadata = pq.ParquetFile(path).metadata
        chunk = metadata.row_group(0).column(metadata.num_columns - 1)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
        path.write_bytes(content)
    kept, _ = checked(listed([path]))
    assert [one.text for one in kept] == texts
    return "all kept"


def container(folder, draw):
    """Windows of any length, several frames or members, padding, cuts."""
    rows = [{"text": f"{number} {sentence(draw)}"} for number in range(draw.randint(1, 400))]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    half = content.index(b"\n", len(content) // 2) + 1
    parts = draw.choice([[content], [content[:half], content[half:]]])
    ending = draw.choice(["gz", "zst"])
    if ending == "gz":
        packed = b"".join(map(gzip.compress, parts))
    else:
        packed = b"".join(_frame(part, draw.randint(10, 32)) for part in parts)
    change = draw.choice(["none", "none", "cut", "padding"])
    if change == "cut":
        packed = packed[: -draw.randint(1, len(packed) - 1)]
    elif change == "padding":
        packed += bytes(draw.randint(1, 2000))
    path = folder / f"rows.jsonl.{ending}"
    path.write_bytes(packed)
    found, refusal = outcome_or_refusal(lambda: checked(listed([path])))
    if "cannot be read here" in refusal:
        assert "memory" in refusal, refusal
        return "refused: a decoder's limit"
    if refusal:
        assert "holds no rows" in refusal, refusal
        return "refused: no rows"
    kept, dropped = found
    whole = [row["text"] for row in rows]
    assert [one.text for one in kept] == whole[: len(kept)]
    assert len(kept) == len(rows) or dropped or change == "cut", "rows are lost"
    if change == "cut" and not dropped:
        assert _is_whole(packed, ending), "a cut file is taken for whole"
    if change == "none":
        assert kept
        assert not dropped, dropped
    return f"{change}: {reasons(dropped)}"


def _frame(content, log_window):
    size = min(2**16, 2**log_window)  # no block is longer than the window
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    blocks = b"".join(
        struct.pack("<I", len(part) << 3 | (number == len(parts) - 1))[:3] + part
        for number, part in enumerate(parts)
    )
    return struct.pack("<IBB", 0xFD2FB528, 0, (log_window - 10) << 3) + blocks


def _is_whole(packed, ending):
    """Whether a cut fell between two frames or members."""
    if ending == "gz":
        with contextlib.suppress(EOFError):
            return bool(gzip.decompress(packed))
        return False
    decoder = zstandard.ZstdDecompressor(max_window_size=2**31)
    one = decoder.decompressobj()
    one.decompress(packed)
    return one.eof and not one.unused_data


def name(folder, draw):
    """Names of files with any signs, beside others that they match as patterns."""
    signs = [
        "a",
        "1",
        "[1]",
        "{",
        "}",
        "{1}",
        "{a b}",
        "*",
        "?",
        " ",
        "'",
        '"',
        "$x",
        "#",
        "\n",
        "~",
        "%s",
        "é",
    ]
    signs += [unicodedata.normalize("NFD", "é"), "\udce9", "\\", "&;", "日"]
    stem = "".join(draw.choice(signs) for _ in range(draw.randint(1, 5)))
    asked = draw.choice([stem, unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem)])
    texts = folder / "texts"
    texts.mkdir()
    for decoy in ("a1", "aa", "1", "a"):
        (texts / f"{decoy}.txt").write_text(f"decoy {decoy}")
    (texts / f"{stem}.txt").write_text("the text")
    hidden = texts / draw.choice([".git", ".ipynb_checkpoints"])
    hidden.mkdir()
    (hidden / "old.txt").write_text("hidden")
    (texts / "book.epub").write_text("epub")
    paths, refusal = outcome_or_refusal(lambda: raw_paths([str(texts / f"{asked}.txt")]))
    if refusal:
        assert "rename" in refusal, refusal
        assert ascii(stem)[1:-1] in refusal or repr(stem)[1:-1] in refusal, refusal
        return "refused by name"
    (document,) = read(listed(paths))
    assert document.text == "the text", "another file was read"
    found = read(listed(raw_paths([str(texts)])))
    assert "hidden" not in {one.text for one in found}
    assert "the text" in {one.text for one in found}
    assert passed_over([str(texts)])[str(texts)] == {"hidden": 1, ".epub": 1}
    return "read"


def pointer(folder, draw):
    """Git's pointers in place of texts."""
    lfs = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'3f' * 32}\nsize {draw.randrange(10**9)}\n"
    )
    content = draw.choice([lfs, lfs.replace("\n", "\nx-note y\n", 1), "/annex/objects/SHA256E-s1--0.txt\n"])
    path = folder / f"a.{draw.choice(['txt', 'txt.gz', 'jsonl', 'jsonl.zst', 'parquet', 'json.gz'])}"
    path.write_text(content)
    kept, dropped = checked(listed([path]))
    assert not kept
    assert "pointer" in dropped[0].detail
    return "bad file, named"


def reference(folder, draw):
    """A test set of short or long texts, of any script and form, copied into a document."""
    scripts = [
        _ENGLISH.split(),
        list("今天天气很好我们一起去公园散步吧明天再说"),
        list("どこで生れたかとんと見当がつかぬ"),
        list("ภาษไทยมชองวรหคเืนฤษลนบ"),
    ]
    signs = draw.choice(scripts)
    join = " " if len(signs[1]) > 1 else ""
    questions = [
        join.join(draw.choice(signs) for _ in range(draw.randint(6, 20))) + "?"
        for _ in range(draw.randint(1, 9))
    ]
    references = references_of([unicodedata.normalize(draw.choice(["NFC", "NFD"]), q) for q in questions], 13)
    long = references.pop(13)
    clean_up = CleanUp(references=long, short_references=references, max_overlap_share=0.01)
    leak = "\n".join(unicodedata.normalize(draw.choice(["NFC", "NFD", "NFKC"]), q) for q in questions)
    leak = leak.upper() if draw.random() < 0.3 else leak
    path = folder / "leak.txt"
    path.write_text(leak + draw.choice(["", "\nand a few words more"]))
    fault = clean_up.fault_of(path.read_text())
    assert fault is not None, questions
    assert fault.reason == "overlap"
    other = " ".join(f"w{draw.randrange(10**9)}" for _ in range(200))
    assert clean_up.fault_of(other) is None
    return "overlap"


def export(folder, draw):
    """Titles that read as something else, as Arrow's reader of JSON lines infers them."""
    values = [
        "2021-01-01",
        "2021-01-01 12:30:00",
        "1999-12-31T00Z",
        "null",
        "NaN",
        "true",
        "12",
        "",
        "1e5",
        "Emma",
    ]
    one = draw.choice(values)
    titles = [draw.choice([one, draw.choice(values)]) for _ in range(draw.randint(1, 4))]
    with LineWriter(folder / "x.jsonl") as writer:
        for title in titles:
            writer.append({"title": title, "number": 1}, 1)
    kind = pj.read_json(folder / "x.jsonl").schema.field("title").type
    if kind == pa.string():
        return "text"
    assert writer.columns_of_times() == ["title"], titles
    return "marked as times"


KINDS = {
    kind.__name__: kind
    for kind in (held_out_copy, label, other_column, container, name, pointer, reference, export)
}


def outcome_of(kind: str, folder: Path, draw) -> str:
    """Draw one input of a kind in an empty folder, and say what came of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return KINDS[kind](folder, draw)
