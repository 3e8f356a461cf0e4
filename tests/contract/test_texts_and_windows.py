"""plan_shards, read_documents, tokenize_documents and assign_windows on the tiny inputs."""

import copy
import gzip
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from longspan.corpora.plans import read_plan
from longspan.store.tables import open_table, read_table
from tiny_chain import TINY, Chain
from tiny_inputs import BOOKS

PLAN = Path("results/corpora/short/plan")


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def changed(**sources):
    settings = copy.deepcopy(TINY)
    for number, values in sources.items():
        settings["corpora"]["short"]["sources"][int(number[1:])] |= values
    return Chain(settings)


def error_of(result, script):
    assert result.code == 1
    return result.stderr.removeprefix(f"{script}: error: ").removesuffix("\n")


# plan_shards


def test_every_document_is_in_one_shard_and_held_out_ones_are_in_none(chain):
    titles = {
        shard: [item.title for item in read_plan(PLAN / f"{shard}.json")] for shard in ("00000", "00001")
    }
    assert all(titles.values())
    assert sorted(titles["00000"] + titles["00001"]) == sorted(
        [*BOOKS, "prose_2", "prose_3", "prose_4", "prose_5"]
    )
    assert [item.title for item in read_plan(PLAN / "held_out.json")] == ["prose_0", "prose_1"]


def test_a_new_file_and_shard_leave_the_old_plans_and_their_tables_as_they_are(chain):
    before = contents(PLAN)
    shutil.copy("inputs/prose/prose_3.txt", "inputs/prose/a_new_one.txt")
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["shards"] = 3
    larger = Chain(settings)
    larger.make("plan_shards")
    after = contents(PLAN)
    assert after.keys() - before.keys() == {"00002.json"}
    assert {name: after[name] for name in before} == before
    assert [item.title for item in read_plan(PLAN / "00002.json")] == ["a_new_one"]


def test_a_copy_in_another_source_is_left_out_and_its_shard_alone_changes(chain):
    before = contents(PLAN)
    Path("inputs/copy.txt").write_text(Path("inputs/prose/prose_3.txt").read_text())
    settings = copy.deepcopy(TINY)
    corpus = settings["corpora"]["short"]
    corpus["shards"] = 3
    source = {"kind": "files", "paths": ["inputs/copy.txt"], "category": "prose", "license": "CC0-1.0"}
    corpus["sources"].append(source)
    larger = Chain(settings)
    larger.make("plan_shards")
    assert {name: content for name, content in contents(PLAN).items() if name in before} == before
    larger.make("read_documents", shard="00002")
    (row,) = read_table(chain.path("dropped", shard="00002"), "dropped")[0].to_pylist()
    assert (row["document_id"], row["reason"]) == ("inputs/copy.txt", "duplicate")
    assert row["detail"] == "has the text of inputs/prose/prose_3.txt"
    assert row["characters"] == len(Path("inputs/copy.txt").read_text())


@pytest.mark.parametrize("drop_duplicates", [True, False])
def test_what_another_source_holds_out_is_left_out_and_counted(chain, drop_duplicates):
    settings = copy.deepcopy(TINY)
    corpus = settings["corpora"]["short"]
    corpus["drop_duplicates"] = drop_duplicates
    os.link("inputs/prose/prose_3.txt", "inputs/linked.txt")
    source = {"kind": "files", "category": "prose", "license": "CC0-1.0", "hold_out": True}
    corpus["sources"] += [
        source | {"paths": [path]} for path in ("inputs/prose/prose_4.txt", "inputs/linked.txt")
    ]
    shutil.rmtree(PLAN)
    changed_chain = Chain(settings)
    said = changed_chain.make("plan_shards")
    assert "shard held_out: 4 pieces" in said
    rows, kept = [], []
    for shard in ("00000", "00001"):
        changed_chain.make("read_documents", shard=shard)
        rows += read_table(chain.path("dropped", shard=shard), "dropped")[0].to_pylist()
        kept += read_table(chain.path("documents", shard=shard), "documents")[0].column(0).to_pylist()
    assert {row["document_id"]: row["reason"] for row in rows} == {
        "inputs/prose/prose_3.txt": "held out",
        "inputs/prose/prose_4.txt": "held out",
    }
    assert not {"inputs/prose/prose_3.txt", "inputs/prose/prose_4.txt", "inputs/linked.txt"} & {*kept}


def test_what_a_folder_holds_that_is_not_read_is_said(chain):
    shutil.copytree("inputs/prose", "inputs/folder")
    for name in ("a.epub", "b.epub", ".hidden", "README"):
        Path("inputs/folder", name).write_text("x")
    shutil.rmtree(PLAN)
    said = changed(_0={"paths": ["inputs/folder"]}).make("plan_shards")
    assert "inputs/folder: not read: 2 .epub, 1 hidden, 1 without an ending" in said.splitlines()


def test_a_source_is_sampled(chain):
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["sources"][1]["sample"] = {"documents": 2}
    shutil.rmtree(PLAN)
    Chain(settings).make("plan_shards")
    titles = [item.title for shard in ("00000", "00001") for item in read_plan(PLAN / f"{shard}.json")]
    assert len([title for title in titles if title in BOOKS]) == 2


def test_folders_and_compressed_files_are_sources(chain):
    for path in Path("inputs/prose").glob("*.txt"):
        packed = Path("inputs/packed/deep", path.name + ".gz")
        packed.parent.mkdir(parents=True, exist_ok=True)
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    Path("inputs/packed/notes.md").write_text("no source")
    packed = changed(_0={"paths": ["inputs/packed"]})
    shutil.rmtree(PLAN)
    packed.make("plan_shards")
    items = [item for path in PLAN.glob("*.json") for item in read_plan(path)]
    prose = {item.title: item.path for item in items if item.category == "prose"}
    assert prose == {f"prose_{n}": f"inputs/packed/deep/prose_{n}.txt.gz" for n in range(6)}


def test_faults_of_a_corpus_leave_the_plans_as_they_are(chain):
    before = contents(PLAN)
    result = changed(_0={"paths": ["inputs/none/*.txt"]}).run("plan_shards")
    assert error_of(result, "plan_shards") == (
        "inputs/none/*.txt does not exist; check the paths of the corpus's sources"
    )
    result = changed(_0={"hold_out": ["prose_9"]}).run("plan_shards")
    assert error_of(result, "plan_shards") == (
        "hold_out names 'prose_9', but the titles are: prose_0, prose_1, prose_2, prose_3, prose_4, prose_5"
    )
    result = changed(_1={"group_by": "chapter"}).run("plan_shards")
    assert error_of(result, "plan_shards") == (
        "inputs/rows.jsonl has no text in column 'chapter'; columns are book, text; correct group_by"
    )
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["shards"] = 10
    assert error_of(Chain(settings).run("plan_shards"), "plan_shards") == (
        "10 shards for 9 pieces of text (files, groups or blocks of rows); set shards to 9 or fewer"
    )
    # Fewer shards than there were would move documents.
    settings["corpora"]["short"]["shards"] = 1
    assert error_of(Chain(settings).run("plan_shards"), "plan_shards") == (
        "shard 00001 holds documents, but is no longer among the 1 shards; "
        "set shards back, or remove the corpus's results to plan it anew"
    )
    assert contents(PLAN) == before


def test_a_damaged_plan_is_refused_and_not_planned_over(chain):
    (PLAN / "00001.json").write_text('[{"path": "inp')
    message = error_of(chain.run("plan_shards"), "plan_shards")
    assert message.startswith(f"{PLAN / '00001.json'} is no shard plan (")
    assert message.endswith("); delete it and run the same target again with --forcerun plan_shards")
    assert (PLAN / "00001.json").read_text() == '[{"path": "inp'


# read_documents


def test_documents_are_the_texts_of_the_plan(chain):
    for shard in ("00000", "held_out"):
        rows = read_table(chain.path("documents", shard=shard), "documents")[0].to_pylist()
        items = read_plan(PLAN / f"{shard}.json")
        assert [row["title"] for row in rows] == [item.title for item in items]
        for row in rows:
            if row["category"] == "prose":
                assert row["text"] == Path(row["document_id"]).read_text()
            else:
                lines = map(json.loads, Path("inputs/rows.jsonl").read_text().splitlines())
                verses = [line["text"] for line in lines if line["book"] == row["title"]]
                assert row["text"] == "\n".join(verses) + "\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"a\0b", "holds NUL bytes (at character 1): it is not text"),
        (
            b"caf\xe9",
            "is not utf-8 text (at byte 3; an older text may need encoding: latin-1 or cp1252)",
        ),
    ],
)
def test_a_bad_text_is_refused_and_the_old_table_stays(chain, content, fault):
    before = chain.path("documents", shard="held_out").read_bytes()
    Path("inputs/prose/prose_1.txt").write_bytes(content)
    chain.make("plan_shards")
    result = chain.run("read_documents", shard="held_out")
    assert error_of(result, "read_documents") == (
        f"inputs/prose/prose_1.txt {fault}; correct it, remove it from the corpus's sources, "
        "or set on_bad_document: skip"
    )
    assert chain.path("documents", shard="held_out").read_bytes() == before
    assert not [name for name in os.listdir(chain.path("documents").parent) if name.startswith(".")]


def test_bad_texts_are_left_out_counted_and_named_where_the_policy_says_so(chain):
    Path("inputs/prose/prose_1.txt").write_bytes(b"a\0b")
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["on_bad_document"] = "skip"
    skipping = Chain(settings)
    skipping.make("plan_shards")
    assert skipping.make("read_documents", shard="held_out").splitlines() == [
        "results/corpora/short/documents/held_out.parquet: 1 documents",
        "results/corpora/short/dropped/held_out.parquet: 1 left out: NUL bytes",
    ]
    (row,) = read_table(chain.path("dropped", shard="held_out"), "dropped")[0].to_pylist()
    assert row == {
        "document_id": "inputs/prose/prose_1.txt",
        "source": "inputs/prose/prose_1.txt",
        "category": "prose",
        "title": "prose_1",
        "reason": "NUL bytes",
        "detail": "holds NUL bytes (at character 1): it is not text",
        "characters": 3,
    }
    # A table without rows is a table too.
    assert read_table(chain.path("dropped"), "dropped")[0].num_rows == 0


def test_documents_that_share_text_with_held_out_works_or_files_are_left_out(chain):
    words = Path("inputs/prose/prose_0.txt").read_text().split()
    Path("inputs/prose/prose_3.txt").write_text("Some words of its own before. " + " ".join(words[50:200]))
    Path("inputs/test_set.jsonl").write_text(
        json.dumps({"question": Path("inputs/prose/prose_4.txt").read_text()}) + "\n"
    )
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["clean_up"] = {
        "overlap": {"files": ["inputs/test_set.jsonl"], "text_column": "question"}
    }
    cleaning = Chain(settings)
    cleaning.make("plan_shards")
    cleaning.make("read_documents", shard="held_out")
    said = cleaning.make("index_references")
    assert said.startswith("results/corpora/short/reference_ngrams.parquet: ")
    assert said.endswith(" n-grams of 3 texts\n")
    rows = []
    for shard in ("00000", "00001"):
        cleaning.make("read_documents", shard=shard)
        rows += read_table(chain.path("dropped", shard=shard), "dropped")[0].to_pylist()
    assert {row["document_id"]: row["reason"] for row in rows} == {
        "inputs/prose/prose_3.txt": "overlap",
        "inputs/prose/prose_4.txt": "overlap",
    }
    assert all("of its 13-grams with held-out text" in row["detail"] for row in rows)


def test_a_link_among_reference_texts_that_leads_out_is_refused(chain):
    Path("tests").mkdir()
    Path("secret.txt").write_text("a key")
    Path("tests/set.txt").symlink_to("../secret.txt")
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["clean_up"] = {"overlap": {"files": ["tests"]}}
    result = Chain(settings).run("index_references")
    assert result.code == 1
    assert result.stderr == (
        "index_references: error: tests/set.txt is a link that leads out of what the settings name, to "
        f"{Path('secret.txt').absolute()}; name that path beside it, or remove the link\n"
    )
    settings["corpora"]["short"]["clean_up"] = {"overlap": {"files": ["tests", "secret.txt"]}}
    assert Chain(settings).make("index_references").endswith(" of them whole texts of fewer words\n")


def test_a_test_set_of_short_questions_is_found(chain):
    questions = [f"What did captain number {number} find under the old bridge?" for number in range(30)]
    Path("inputs/test.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in questions))
    Path("inputs/prose/prose_3.txt").write_text("\n".join(questions))
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["clean_up"] = {"overlap": {"files": ["inputs/test.jsonl"]}}
    cleaning = Chain(settings)
    cleaning.make("plan_shards")
    cleaning.make("read_documents", shard="held_out")
    said = cleaning.make("index_references")
    assert said.endswith(" n-grams of 32 texts, 30 of them whole texts of fewer words\n")
    rows = []
    for shard in ("00000", "00001"):
        cleaning.make("read_documents", shard=shard)
        rows += read_table(chain.path("dropped", shard=shard), "dropped")[0].to_pylist()
    assert [(row["document_id"], row["reason"]) for row in rows] == [("inputs/prose/prose_3.txt", "overlap")]


def test_a_limit_of_the_decoder_is_an_error_under_skip_too_and_the_file_is_read_the_next_time(chain):
    path, text = Path("inputs/prose/prose_6.txt.zst"), b"a text of its own"
    # A frame with a window of 4 GiB, more than any decoder takes.
    block = struct.pack("<I", len(text) << 3 | 1)[:3] + text
    path.write_bytes(struct.pack("<IBB", 0xFD2FB528, 0, (32 - 10) << 3) + block)
    settings = copy.deepcopy(TINY)
    settings["corpora"]["short"]["on_bad_document"] = "skip"
    settings["corpora"]["short"]["sources"][0]["paths"] = ["inputs/prose"]
    before = contents(PLAN)
    message = error_of(Chain(settings).run("plan_shards"), "plan_shards")
    assert message.startswith(
        f"{path} cannot be read here (ZSTD decompress failed: Frame requires too much mem"
    )
    assert message.endswith("; nothing is left out for that: mend it and run the same target again")
    assert contents(PLAN) == before
    path.write_bytes(zstandard.compress(text))
    Chain(settings).make("plan_shards")
    items = [item for shard in ("00000", "00001") for item in read_plan(PLAN / f"{shard}.json")]
    assert str(path) in {item.path for item in items}


def test_a_lost_table_of_dropped_documents_is_made_again(chain):
    chain.path("dropped").unlink()
    chain.make("read_documents")
    assert chain.path("dropped").exists()


def test_a_text_that_changed_since_it_was_planned_is_refused(chain):
    chain.path("documents", shard="held_out").unlink()
    Path("inputs/prose/prose_1.txt").write_text("other words")
    assert error_of(chain.run("read_documents", shard="held_out"), "read_documents") == (
        "inputs/prose/prose_1.txt changed while the workflow ran; "
        "run the same target again, which plans it anew"
    )
    assert not chain.path("documents", shard="held_out").exists()


def test_a_missing_plan_is_refused(chain):
    (PLAN / "00000.json").unlink()
    assert error_of(chain.run("read_documents"), "read_documents") == (
        f"{PLAN / '00000.json'} is missing; run the same target again with --forcerun plan_shards"
    )


def test_an_unchanged_plan_reads_no_text_again(chain):
    before = chain.path("documents").read_bytes()
    shutil.rmtree("inputs/prose")
    chain.make("read_documents")
    assert chain.path("documents").read_bytes() == before


# tokenize_documents


def test_tokens_are_those_of_the_models_tokenizer(chain):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("inputs/model")
    documents = read_table(chain.path("documents"), "documents")[0].to_pylist()
    tokens = read_table(chain.path("tokens"), "tokens")[0].to_pylist()
    assert [row["document_id"] for row in tokens] == [row["document_id"] for row in documents]
    splits = 0
    for document, row in zip(documents, tokens, strict=True):
        assert row["input_ids"] == tokenizer(document["text"], add_special_tokens=False).input_ids
        assert sum(row["char_deltas"]) == len(document["text"])
        splits += len(row["split_positions"])
    assert splits  # the tiny texts have characters that tokens cut


# assign_windows


def windows(chain, shard="00000"):
    return read_table(chain.path("windows", shard=shard), "windows")[0].to_pylist()


def test_a_windows_characters_are_its_tokens_text(chain):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file("inputs/model/tokenizer.json")
    documents, tokens = (
        {
            row["document_id"]: row
            for row in read_table(chain.path(kind, shard="held_out"), kind)[0].to_pylist()
        }
        for kind in ("documents", "tokens")
    )
    rows = windows(chain, "held_out")
    assert len(rows) > 10
    for row in rows:
        document = row["document_id"]
        text = documents[document]["text"][row["char_start"] : row["char_stop"]]
        ids = tokens[document]["input_ids"][row["token_start"] : row["token_stop"]]
        assert len(ids) == 128
        # Where an edge cuts a character, its bytes decode to replacement characters.
        assert tokenizer.decode(ids).strip("\ufffd") in text
        assert len(text) - len(tokenizer.decode(ids).strip("\ufffd")) <= 2


def test_training_windows_are_sampled_and_held_out_ones_are_not(chain):
    for shard in ("00000", "00001"):
        rows = windows(chain, shard)
        for category in ("prose", "rows"):
            assert sum(row["category"] == category for row in rows) == 4
    lengths = {
        row["document_id"]: len(row["input_ids"])
        for row in read_table(chain.path("tokens", shard="held_out"), "tokens")[0].to_pylist()
    }
    assert len(windows(chain, "held_out")) == sum(length // 128 for length in lengths.values())


@pytest.mark.parametrize(("add_bos", "first"), [(True, 1), (False, None), ("auto", None)])
def test_bos_is_added_as_set(chain, add_bos, first):
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["add_bos"] = add_bos
    Chain(settings).make("assign_windows")
    table, manifest = read_table(chain.path("windows"), "windows")
    assert manifest.settings["bos_token_id"] == first
    stops, starts = (table.column(name).to_numpy() for name in ("token_stop", "token_start"))
    assert set(np.unique(stops - starts)) == {127 if first else 128}


def test_a_tokenizer_that_adds_bos_does_so_under_auto(chain):
    manifest = chain.path("model")
    manifest.write_text(manifest.read_text().replace('"adds_bos": false', '"adds_bos": true'))
    chain.make("assign_windows")
    assert open_table(chain.path("windows"), "windows")[1].settings["bos_token_id"] == 1


def test_bos_without_a_bos_token_is_refused(chain):
    manifest = chain.path("model")
    manifest.write_text(manifest.read_text().replace('"bos_token_id": 1', '"bos_token_id": null'))
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["add_bos"] = True
    result = Chain(settings).run("assign_windows")
    assert error_of(result, "assign_windows") == (
        f"add_bos is set, but the tokenizer of {manifest} has no BOS token"
    )


def test_documents_shorter_than_a_window_are_counted(chain):
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["window_tokens"] = 500
    # Stores that no longer fit are no matter of this script.
    settings["scorers"]["tiny-32"] |= {"base_length": 500, "base_stride": 1}
    lengths = [len(row["input_ids"]) for row in read_table(chain.path("tokens"), "tokens")[0].to_pylist()]
    total, short = sum(length // 500 for length in lengths), sum(length < 500 for length in lengths)
    said = Chain(settings).make("assign_windows")
    kept = len(windows(chain))
    assert said == (
        f"{chain.path('windows')}: {kept} of {total} windows; {short} of {len(lengths)} documents "
        "are shorter than a window of 500 tokens and give none\n"
    )


def test_tokens_of_other_documents_are_refused(chain):
    """Another text under the same name: its tokens must be made first."""
    path = Path("inputs/prose/prose_1.txt")
    path.write_text(path.read_text() + "More.")
    chain.make("plan_shards")
    chain.make("read_documents", shard="held_out")
    message = error_of(chain.run("assign_windows", shard="held_out"), "assign_windows")
    tokens = chain.path("tokens", shard="held_out")
    assert message.startswith(f"{tokens} was made with another documents file (")
    assert message.endswith("; delete it and run the same target again, which reruns tokenize_documents")


def test_a_table_of_another_kind_is_refused(chain):
    shutil.copy(chain.path("windows"), chain.path("tokens"))
    assert error_of(chain.run("assign_windows"), "assign_windows") == (
        f"{chain.path('tokens')} holds windows, expected tokens; "
        "delete it and run the same target again, which reruns tokenize_documents"
    )


def test_a_table_that_something_else_wrote_is_refused(chain):
    pq.write_table(pa.table({"document_id": ["a"]}), chain.path("documents"))
    chain.path("tokens").unlink()
    assert error_of(chain.run("tokenize_documents"), "tokenize_documents") == (
        f"{chain.path('documents')} has no longspan manifest, so what made it is unknown; "
        "delete it and run the same target again, which reruns read_documents"
    )
    assert not chain.path("tokens").exists()
