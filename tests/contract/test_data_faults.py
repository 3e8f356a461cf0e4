"""Faults in data at each stage's door: an error names the file and what mends it, and nothing is written."""

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from full_disk import small_disk
from longspan.store.contracts import CONTRACTS
from longspan.store.tables import open_table, read_table, write_table
from tiny_chain import RULES, SCORERS, script_of

# What each script reads: (template, kind, other names).
_WINDOWS = [("tokens", "tokens", {}), ("windows", "windows", {})]
_HELD_OUT = [(template, kind, {"shard": "held_out"}) for template, kind, _ in _WINDOWS]
_EVALUATIONS = [("evaluation", "evaluation", {}), ("evaluation", "evaluation", {"trained": "base"})]
INPUTS = {
    "tokenize_documents": [("documents", "documents", {})],
    "assign_windows": [("documents", "documents", {}), ("tokens", "tokens", {})],
    "score_short": _WINDOWS,
    "score_attention": _WINDOWS,
    "score_ladm": _WINDOWS,
    "score_prolong": _WINDOWS,
    "collect_weights": [("windows", "windows", {}), ("scores", "nll_scores", {"shard": "00001"})],
    "record_frozen_weights": [("score_index", "score_index", {})],
    "select_windows": [
        ("windows", "windows", {"shard": "00001"}),
        ("scores", "attention_scores", {"scorer": "tiny-layer0"}),
    ],
    "list_kept_windows": [("selection", "selection", {})],
    "export_windows": [("documents", "documents", {}), *_WINDOWS, ("kept", "kept_windows", {})],
    "train": [
        *_WINDOWS,
        ("kept", "kept_windows", {}),
        ("score_index", "score_index", {}),
        ("scores", "nll_scores", {"shard": "00001"}),
    ],
    "evaluate": _HELD_OUT,
    "compare_models": _EVALUATIONS,
    "summarize_results": [
        ("windows", "windows", {}),
        ("scores", "nll_scores", {}),
        ("selection", "selection", {}),
        *_EVALUATIONS,
    ],
    "draw_figures": [("selection", "selection", {}), *_EVALUATIONS],
    "aggregate_shard": [
        *_WINDOWS,
        ("documents", "documents", {}),
        ("dropped", "dropped", {}),
        ("scores", "nll_scores", {}),
    ],
    "aggregate_selection": [
        ("selection", "selection", {}),
        ("windows", "windows", {}),
        ("scores", "attention_scores", {"scorer": "tiny-layer0"}),
    ],
    "build_report": [("selection", "selection", {}), *_EVALUATIONS],
}
# Who only looks at the manifest sees no damage of a page, nor does anyone in a table without rows.
UNREAD = {
    ("record_frozen_weights", "score_index"),
    ("aggregate_shard", "dropped"),
}
# Who does not read the ids sees none twice, or sees before that it is another table than the one it expects.
NO_DOUBLES = {
    *UNREAD,
    ("summarize_results", "nll_scores"),
    ("export_windows", "documents"),
    ("train", "nll_scores"),
    *((script, "tokens") for script in (*SCORERS, "export_windows", "train", "evaluate")),
    ("aggregate_shard", "documents"),
    ("aggregate_shard", "tokens"),
    ("aggregate_selection", "attention_scores"),
}


def remove(path: Path, kind: str) -> str:
    """No file."""
    path.unlink()
    return f"{path} is missing; run the same target again, which runs {CONTRACTS[kind].rule}"


def empty(path: Path, kind: str) -> str:
    """A file of no bytes."""
    path.write_bytes(b"")
    return f"{path} is not a whole Parquet file (…); {_again(kind)}"


def truncate(path: Path, kind: str) -> str:
    """A file without its end."""
    path.write_bytes(path.read_bytes()[:-40])
    return f"{path} is not a whole Parquet file (…); {_again(kind)}"


def flip_bits(path: Path, kind: str) -> str:
    """A bit of the last byte of each column's last page."""
    content = bytearray(path.read_bytes())
    metadata = pq.ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    return f"{path} is damaged (…); {_again(kind)}"


def double(path: Path, kind: str) -> str:
    """A row twice, which the manifest counts."""
    table, _ = read_table(path, kind)
    rewrite(path, kind, pa.concat_tables([table, table.slice(0, 1)]))
    return f"{path} holds {table.column(CONTRACTS[kind].key)[0]} twice; {_again(kind)}"


def age(path: Path, kind: str) -> str:
    """A file of an older schema."""
    table = pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata.metadata[b"longspan"]
    old = metadata.replace(b'"schema_version": 1', b'"schema_version": 0')
    assert old != metadata
    pq.write_table(table.replace_schema_metadata({b"longspan": old}), path)
    return f"{path} has schema version 0, this longspan reads 1; {_again(kind)}"


FAULTS = (remove, empty, truncate, flip_bits, double, age)
CASES = [
    pytest.param(script, *case, fault, id="-".join((script, case[0], *case[2].values(), fault.__name__)))
    for script, cases in INPUTS.items()
    for case in cases
    for fault in FAULTS
    if fault is not double or (CONTRACTS[case[1]].key and (script, case[1]) not in NO_DOUBLES)
    if fault is not flip_bits or (script, case[1]) not in UNREAD
]


def test_these_tests_know_every_script():
    """Those left out read no table: test_downloads.py, test_publish.py and others show their faults."""
    others = {
        "download_model",
        "download_texts",
        "estimate",
        "index_references",
        "make_task",
        "pin_revisions",
        "plan_shards",
        "prepare_task",
    }
    others |= {"publish_export", "read_documents", "record_settings", "tabulate_costs", "write_data_card"}
    assert others | INPUTS.keys() == set(RULES)


@pytest.mark.parametrize(("script", "template", "kind", "names", "fault"), CASES)
def test_a_faulty_table_is_refused(chain, script, template, kind, names, fault):
    path = chain.path(template, **names)
    expected = fault(path, kind)
    if script == "tokenize_documents":  # tokens that are there would be kept unread
        chain.path("tokens").unlink()
    refuses(chain, script, expected)


def replace(**changes) -> Callable[[Path, str], None]:
    """The table with another manifest."""

    def fault(path: Path, kind: str) -> None:
        rewrite(path, kind, read_table(path, kind)[0], **changes)

    return fault


def of_other_windows(path: Path, kind: str) -> None:
    """A table that was made of windows that were cut otherwise."""
    inputs = open_table(path, kind)[1].inputs
    replace(inputs=inputs | {"windows/00001": "0" * 64})(path, kind)


def of_other_shard(path: Path, kind: str) -> None:
    """A good table in another's place."""
    shutil.copyfile(path.with_name("00000.parquet" if path.stem == "00001" else "00001.parquet"), path)


AGAIN = "and run the same target again"


def made_with(what: str, rule: str) -> str:
    """The error of a table that was made from something else."""
    return (
        f"was made with another {what} (…) than the one at hand (…); delete it {AGAIN}, which reruns {rule}"
    )


OTHER_TOKENIZER = replace(tokenizer="0" * 64)
DOCUMENTS, TOKENS, WINDOWS = ((name, name, {"shard": "00001"}) for name in ("documents", "tokens", "windows"))
SHORT, ATTENTION = (
    ("scores", kind, {"shard": "00001", "scorer": scorer})
    for kind, scorer in (("nll_scores", "tiny-32"), ("attention_scores", "tiny-layer0"))
)
INDEX, KEPT, MODEL = (
    ("score_index", "score_index", {}),
    ("kept", "kept_windows", {}),
    ("model", "", {}),
)
OTHER_DOCUMENTS = made_with("documents file", "tokenize_documents")
CUT_FROM_OTHERS = made_with("documents file", "assign_windows")
OTHER_TOKENS = made_with("tokens file", "assign_windows")
OTHER_WINDOWS = "windows of shard 00001"
ANOTHER_MODEL = (
    "has another tokenizer (…) than the windows (0…); choose a model with the windowing's tokenizer"
)
SCORED = f"was scored with windows of another tokenizer than there are now; delete it {AGAIN}"
UNLIKE = f"was scored with other tokenizer than the shards before it; delete it {AGAIN}"
STRANGE = f"holds …, a window of shard 00000; delete it {AGAIN}"
UNLIKE_WINDOWS = (
    "has windows of another tokenizer, length or BOS token than the shards before it; "
    f"delete it {AGAIN}, which reruns assign_windows"
)
# What reads a table, the table, what is foreign in it, the table that is named, and why.
FOREIGN = [
    ("assign_windows", DOCUMENTS, of_other_shard, TOKENS, OTHER_DOCUMENTS),
    ("assign_windows", TOKENS, of_other_shard, TOKENS, OTHER_DOCUMENTS),
    ("assign_windows", TOKENS, OTHER_TOKENIZER, TOKENS, made_with("tokenizer", "tokenize_documents")),
    ("export_windows", DOCUMENTS, of_other_shard, WINDOWS, CUT_FROM_OTHERS),
    ("export_windows", TOKENS, of_other_shard, WINDOWS, OTHER_TOKENS),
    ("export_windows", KEPT, of_other_windows, KEPT, made_with(OTHER_WINDOWS, "list_kept_windows")),
    *((rule, TOKENS, of_other_shard, WINDOWS, OTHER_TOKENS) for rule in SCORERS),
    *((rule, WINDOWS, OTHER_TOKENIZER, MODEL, ANOTHER_MODEL) for rule in SCORERS),
    ("collect_weights", SHORT, of_other_shard, SHORT, STRANGE),
    ("collect_weights", SHORT, OTHER_TOKENIZER, SHORT, UNLIKE),
    ("collect_weights", WINDOWS, OTHER_TOKENIZER, SHORT, SCORED),
    ("select_windows", ATTENTION, of_other_shard, ATTENTION, STRANGE),
    ("select_windows", WINDOWS, OTHER_TOKENIZER, ATTENTION, SCORED),
    ("train", TOKENS, of_other_shard, WINDOWS, OTHER_TOKENS),
    ("train", WINDOWS, OTHER_TOKENIZER, WINDOWS, UNLIKE_WINDOWS),
    ("train", KEPT, of_other_windows, KEPT, made_with(OTHER_WINDOWS, "list_kept_windows")),
    ("train", SHORT, of_other_shard, INDEX, made_with("scores of shard 00001", "collect_weights")),
    ("train", INDEX, of_other_windows, INDEX, made_with(OTHER_WINDOWS, "collect_weights")),
]


@pytest.mark.parametrize(("script", "table", "foreign", "named", "why"), FOREIGN)
def test_a_foreign_table_is_refused(chain, script, table, foreign, named, why):
    template, kind, names = table
    foreign(chain.path(template, **names), kind)
    template, _, names = named
    refuses(chain, script, f"{chain.path(template, **names)} {why}", shard="00001")


def refuses(chain, script: str, expected: str, **names: str) -> None:
    """Run a script that must end with this error (… stands for anything) and leave every file as it is."""
    before = files_under()
    result = chain.run(script, **names)
    assert (result.code, result.stdout) == (1, "")
    message = result.stderr.splitlines()[-1].rpartition("\r")[2]
    pattern = re.escape(f"{script_of(script)}: error: {expected}").replace("…", ".*")
    assert re.fullmatch(pattern, message), message
    assert files_under() == before


def rewrite(path: Path, kind: str, table: pa.Table, **changes) -> None:
    """Write other rows under the manifest that a table has, or the same under another."""
    manifest = open_table(path, kind)[1]
    names = ("settings", "inputs", "stage_version", "tokenizer", "counts", "code_digest")
    kept = {name: getattr(manifest, name) for name in names}
    write_table(path, kind, table.replace_schema_metadata(None), **kept | changes)


def _again(kind: str) -> str:
    return f"delete it and run the same target again, which reruns {CONTRACTS[kind].rule}"


def files_under(folder="."):
    """Contents of all files."""
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "script", ["tokenize_documents", "assign_windows", "score_short", "train", "evaluate"]
)
def test_a_missing_model_is_named(chain, script):
    names = {"trained": "base"} if script == "evaluate" else {}
    chain.path("model").unlink()
    result = chain.run(script, **names)
    assert result.code == 1
    path = chain.path("model")
    again = "run the same target again, which makes the model"
    assert result.stderr == f"{script_of(script)}: error: {path} is missing; {again}\n"


@pytest.mark.parametrize("script", ["tokenize_documents", *SCORERS, "train"])
def test_a_missing_or_truncated_model_file_is_named(chain, script):
    weights = chain.path("model").with_name("model.safetensors")
    size = weights.stat().st_size
    again = f"delete {chain.path('model')} and run the same target again, which makes the model anew"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = chain.run(script)
    assert result.code == 1
    assert (
        result.stderr
        == f"{script_of(script)}: error: {weights} has {size - 1} bytes instead of {size}; {again}\n"
    )
    weights.unlink()
    assert chain.run(script).stderr == f"{script_of(script)}: error: {weights} is missing; {again}\n"


@pytest.mark.parametrize("script", [*SCORERS, "train", "evaluate"])
def test_a_model_of_another_tokenizer_is_refused(chain, script):
    names = {"trained": "base"} if script == "evaluate" else {}
    manifest = chain.path("model")
    manifest.write_text(manifest.read_text().replace('"identity": "', '"identity": "0'))
    result = chain.run(script, **names)
    assert result.code == 1
    assert "has another tokenizer (0" in result.stderr
    assert result.stderr.endswith("; choose a model with the windowing's tokenizer\n")


@pytest.mark.parametrize(
    ("script", "made"),
    [
        *((rule, "scores") for rule in SCORERS),
        ("train", "run"),
        ("evaluate", "evaluation"),
    ],
)
def test_a_flipped_bit_of_a_models_weights_is_refused(chain, script, made):
    names = {"trained": "base"} if script == "evaluate" else {}
    names |= {"scorer": SCORERS[script]} if script in SCORERS else {}
    path = chain.path(made, **names)  # what is there would be kept without the model
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    weights = chain.path("model").with_name("model.safetensors")
    flip_bit(weights)
    result = chain.run(script, **names)
    assert result.code == 1
    again = f"delete {chain.path('model')} {AGAIN}, which makes the model anew"
    pattern = f"{script_of(script)}: error: {weights} is damaged or another one: its sha256 is .*; {again}"
    assert re.fullmatch(pattern, result.stderr.splitlines()[-1])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_another_file_of_a_model_is_refused_by_whoever_reads_it(chain, name):
    path = chain.path("model").with_name(name)
    flip_bit(path)
    for script in ("tokenize_documents", "score_attention"):
        assert f"{path} is damaged or another one" in chain.run(script).stderr


def test_a_faulty_manifest_of_an_export_is_refused(chain):
    path = chain.path("manifest")
    content = path.read_text()
    again = f"delete {path} and run the same target again, which reruns export_windows"
    path.write_text(content[:-40])
    refuses(chain, "write_data_card", f"{path} is no manifest of an export (…); {again}")
    path.write_text(content.replace('"schema_version": 1', '"schema_version": 0'))
    refuses(chain, "write_data_card", f"{path} has schema version 0, this longspan reads 1; {again}")
    path.unlink()
    missing = f"{path} is missing; run the same target again, which runs export_windows"
    refuses(chain, "write_data_card", missing)


# What a script writes: (template, other names, file under it).
OUTPUTS = {
    "read_documents": ("documents", {}, ""),
    "tokenize_documents": ("tokens", {}, ""),
    "assign_windows": ("windows", {}, ""),
    "score_attention": ("scores", {"scorer": "tiny-layer0"}, ""),
    "select_windows": ("selection", {}, ""),
    "list_kept_windows": ("kept", {}, ""),
    "score_short": ("scores", {}, ""),
    "score_ladm": ("scores", {"scorer": "tiny-spans"}, ""),
    "score_prolong": ("scores", {"scorer": "tiny-pairs"}, ""),
    "collect_weights": ("score_index", {}, ""),
    "export_windows": ("data", {}, ""),
    "train": ("run", {}, "model/model.safetensors"),
    "evaluate": ("evaluation", {}, ""),
}


@pytest.mark.parametrize("script", OUTPUTS)
def test_a_full_disk_is_named_and_the_next_call_goes_on(chain, script, tmp_path):
    template, names, inside = OUTPUTS[script]
    path = chain.path(template, **names)
    expected = (path / inside).read_bytes()
    with small_disk(tmp_path / "disk", 4096) as disk:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(path.parent, disk / "folder")
        shutil.rmtree(path.parent)
        path.parent.symlink_to(disk / "folder")
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        result = chain.run(script)
        assert result.code == 1
        assert re.search("[Nn]o space left on .*; free some.* and run again", result.stderr.splitlines()[-1])
        assert not (path / inside).exists()
        filler.unlink()
        chain.make(script)
        assert (path / inside).read_bytes() == expected


def flip_bit(path: Path) -> None:
    """One bit amid a file, which may be a link."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
