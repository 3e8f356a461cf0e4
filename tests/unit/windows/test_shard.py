from longspan.windows.shard import Shard
from stored_tables import write_shards


def shard(folder):
    return Shard("00000", folder / "windows/00000.parquet", tokens=folder / "tokens/00000.parquet")


def test_a_part_of_a_shard_has_its_windows_alone_and_opens_nothing_anew(tmp_path):
    ids = write_shards(tmp_path)["00000"]
    whole = shard(tmp_path)
    reader = whole.tokens
    part = whole.part({ids[2], ids[0], "of another shard"})
    assert part.data_ids == list(part.rows) == [ids[0], ids[2]]
    assert part.column("category") == ["prose", "verse"]
    assert part.tokens is reader
    assert part.input_ids(ids[2]).tolist() == whole.input_ids(ids[2]).tolist()
    assert part.inputs == whole.inputs
    assert whole.data_ids == ids
    assert whole.part(set()).data_ids == []
