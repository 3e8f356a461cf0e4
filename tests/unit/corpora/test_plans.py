import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.corpora.documents import read_documents
from longspan.corpora.items import Item, list_items
from longspan.corpora.plans import assign_items, read_plan, write_plan
from refusals import refused


def item(path, size_bytes=100, category="prose", **values):
    return Item(
        path=path,
        member=None,
        group=None,
        title=path.removesuffix(".txt"),
        size_bytes=size_bytes,
        sha256="0" * 64,
        format="txt",
        encoding="utf-8",
        boilerplate="none",
        text_column="text",
        title_column=None,
        id_column=None,
        category=category,
        license="CC0-1.0",
        **({"rows": None, "without": ()} | values),
    )


def shards(count):
    return [f"{number:05d}" for number in range(count)]


def paths(plan):
    return {shard: [item.path for item in items] for shard, items in plan.items()}


corpora = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=3), st.integers(1, 1000), st.sampled_from(["prose", "verse"])
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda values: values[0],
).map(lambda rows: [item(*row) for row in rows])


def blocks(path, sizes, category="prose"):
    """A file's rows, sixteen an item, of so many bytes."""
    return [item(path, size, category, rows=(16 * n, 16 * n + 16)) for n, size in enumerate(sizes)]


row_files = st.lists(
    st.tuples(st.lists(st.integers(1, 1000), min_size=1, max_size=9), st.sampled_from(["prose", "verse"])),
    max_size=3,
).map(lambda files: [item for n, file in enumerate(files) for item in blocks(f"rows_{n}.jsonl", *file)])


@given(texts=corpora, rows=row_files, data=st.data())
def test_every_item_is_in_one_shard_and_no_shard_is_empty(texts, rows, data):
    items = texts + rows
    names = shards(data.draw(st.integers(1, len(items))))
    plan = assign_items(items, names)
    assert sorted(plan) == names
    assert all(plan.values())
    placed = [item.key for part in plan.values() for item in part]
    assert sorted(placed) == sorted(item.key for item in items)
    # The order in which files are listed is no part of the plan.
    assert assign_items(items[::-1], names) == plan


@given(items=corpora, added=corpora, data=st.data())
def test_new_items_in_new_shards_leave_the_old_plans_as_they_are(items, added, data):
    taken = {item.path for item in items}
    added = [dataclasses.replace(item, path=item.path + "_new") for item in added]
    assert not taken & {item.path for item in added}
    old_names = shards(data.draw(st.integers(1, len(items))))
    names = shards(len(old_names) + data.draw(st.integers(1, len(added))))
    previous = assign_items(items, old_names)
    plan = assign_items([*added, *items], names, previous)
    assert {shard: plan[shard] for shard in old_names} == previous
    assert sorted(item.path for shard in names[len(old_names) :] for item in plan[shard]) == sorted(
        item.path for item in added
    )


@given(items=corpora, added=corpora, data=st.data())
def test_new_items_in_old_shards_come_after_the_old_ones(items, added, data):
    # Paths that sort before the old ones: the windows' ids are numbered in this order.
    added = [dataclasses.replace(item, path="A" + item.path) for item in added]
    names = shards(data.draw(st.integers(1, len(items))))
    previous = assign_items(items, names)
    plan = assign_items([*added, *items], names, previous)
    for shard in names:
        assert plan[shard][: len(previous[shard])] == previous[shard]
    assert assign_items([*added, *items], names, plan) == plan


@given(items=corpora, data=st.data())
def test_an_item_that_goes_leaves_the_places_of_the_others(items, data):
    names = shards(data.draw(st.integers(1, len(items))))
    previous = assign_items(items, names)
    gone = data.draw(st.sampled_from(items))
    left = [item for item in items if item is not gone]
    if len(left) < len(names):
        return
    plan = assign_items(left, names, previous)
    assert plan == {shard: [item for item in part if item != gone] for shard, part in previous.items()}


def test_an_item_keeps_its_shard_with_its_new_content():
    names = shards(2)
    previous = assign_items([item("a"), item("b")], names)
    changed = dataclasses.replace(item("a"), size_bytes=9999, sha256="1" * 64)
    plan = assign_items([changed, item("b")], names, previous)
    assert paths(plan) == paths(previous)
    assert changed in [item for part in plan.values() for item in part]


def test_a_group_keeps_its_shard_when_a_group_before_it_grows(tmp_path):
    def items(acts):
        rows = [("Acts", str(number)) for number in range(acts)] + [("Ruth", "x"), ("Job", "y")]
        lines = [json.dumps({"book": book, "text": text}) + "\n" for book, text in rows]
        (tmp_path / "a.jsonl").write_text("".join(lines))
        source = {"category": "c", "license": "l", "encoding": "utf-8", "boilerplate": "none"}
        source |= {"text_column": "text", "group_by": "book", "hold_out": []}
        return [listing.item for listing in list_items(source, [tmp_path / "a.jsonl"])[0]]

    previous = assign_items(items(3), shards(2))
    plan = assign_items(items(5), shards(2), previous)
    assert {shard: {item.group for item in part} for shard, part in plan.items()} == {
        shard: {item.group for item in part} for shard, part in previous.items()
    }
    # Whatever the order of a plan, its documents are read.
    for part in plan.values():
        assert [document.title for document in read_documents(part[::-1])] == [
            item.group for item in part[::-1]
        ]


def test_shards_are_balanced_by_category_and_size():
    verse = [item(f"verse_{number}", 10, "verse") for number in range(8)]
    prose = [item(f"prose_{number}", size) for number, size in enumerate([900, 500, 400, 300, 300])]
    plan = assign_items([*verse, *prose], shards(2))
    for part in plan.values():
        assert sum(item.category == "verse" for item in part) == 4
        assert sum(item.size_bytes for item in part if item.category == "prose") == 1200


@given(number=st.integers(1, 40), count=st.integers(1, 6))
def test_blocks_of_one_file_go_in_runs_that_fill_shards_evenly(number, count):
    """Runs are read in one go; two a shard at least, so that shards can be filled evenly."""
    if number < count:
        return
    items = blocks("a.jsonl", [100] * number)
    plan = assign_items(items, shards(count))
    sizes = [len(part) for part in plan.values()]
    assert sum(sizes) == number
    assert max(sizes) - min(sizes) <= max(1, number // (2 * count))
    for part in plan.values():
        starts = [item.rows[0] // 16 for item in part]
        runs = 1 + sum(after - before != 1 for before, after in itertools.pairwise(starts))
        assert runs <= max(3, len(part) // 2) or number < 6 * count


def test_runs_keep_a_files_rows_together():
    """Reading a run opens its file once; two runs a shard and more fill the shards evenly."""
    items = blocks("a.jsonl", [10] * 32) + blocks("b.jsonl", [10] * 32)
    plan = assign_items(items[::-1], shards(4))
    for part in plan.values():
        assert part == sorted(part, key=lambda item: item.place)
        assert sum(item.size_bytes for item in part) == 160
        starts = [
            item.rows[0]
            for before, item in zip([None, *part], part, strict=False)
            if before is None or (before.path, before.rows[1]) != (item.path, item.rows[0])
        ]
        assert len(starts) <= 2
    # New rows behind the old ones go into runs too, and move none of those.
    grown = assign_items(items + blocks("b.jsonl", [10] * 48)[32:], shards(4), plan)
    for shard, part in plan.items():
        assert grown[shard][: len(part)] == part
        added = grown[shard][len(part) :]
        assert len(added) == 4
        for first, second in (added[:2], added[2:]):
            assert first.rows[1] == second.rows[0]


def test_a_shard_is_not_left_empty_for_the_sake_of_a_run():
    plan = assign_items(blocks("a.jsonl", [94, 3, 3]), shards(3))
    assert sorted(item.size_bytes for part in plan.values() for item in part) == [3, 3, 94]
    assert all(plan.values())


def test_doubled_items_are_refused_by_name():
    with refused("a is in the corpus twice; each document may be in one source only"):
        assign_items([item("a"), item("b"), item("a", category="verse")], shards(1))


def test_more_shards_than_documents_are_refused():
    with refused("3 shards for 2 pieces of text (files, groups or blocks of rows); set shards to 2 or fewer"):
        assign_items([item("a"), item("b")], shards(3))


def test_fewer_shards_than_before_are_refused():
    items = [item("a"), item("b")]
    previous = assign_items(items, shards(2))
    with refused(
        "shard 00001 holds documents, but is no longer among the 1 shards; "
        "set shards back, or remove the corpus's results to plan it anew"
    ):
        assign_items(items, shards(1), previous)


def test_a_plan_comes_back_and_says_the_same_in_the_same_bytes(tmp_path):
    items = [item("a"), item("b", rows=(0, 16), without=(3, 5))]
    write_plan(tmp_path / "plan.json", items)
    before = (tmp_path / "plan.json").read_bytes()
    assert read_plan(tmp_path / "plan.json") == items
    write_plan(tmp_path / "plan.json", read_plan(tmp_path / "plan.json"))
    assert (tmp_path / "plan.json").read_bytes() == before


def test_a_missing_or_damaged_plan_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    with refused(f"{path} is missing; run the same target again with --forcerun plan_shards"):
        read_plan(path)
    for content in ('[{"path": "a"', '[{"path": "a"}]', "[3]", '[{"rows": null}]'):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"is no shard plan .*; delete it and run the same target again"):
            read_plan(path)
