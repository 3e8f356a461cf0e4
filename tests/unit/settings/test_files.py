"""Settings files are read as data."""

import pytest

from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.files import read_settings, refuse_doubled_keys
from refusals import refused


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_mapping_is_read_with_its_merges(tmp_path):
    text = "a: &base {x: 1, y: é}\nb:\n  <<: *base\n  y: 2\nc:\n  <<: *base\n"
    found = read_settings(write(tmp_path / "c.yaml", text))
    assert found == {"a": {"x": 1, "y": "é"}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": "é"}}


def test_a_key_twice_is_named_with_both_lines(tmp_path):
    path = write(
        tmp_path / "c.yaml",
        "runs:\n  main:\n    seeds: [0]\n    loss: a\n    seeds: [1]\n"
        "corpora:\n  c:\n    sources:\n      - kind: files\n        kind: hub\nruns: {}\n",
    )
    join = "YAML keeps the last alone, so join them or rename one"
    faults = [
        f"{path}: runs.main.seeds: stands in line 3 and again in line 5; {join}",
        f"{path}: corpora.c.sources.0.kind: stands in line 9 and again in line 10; {join}",
        f"{path}: runs: stands in line 1 and again in line 11; {join}",
    ]
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert sorted(caught.value.faults) == sorted(faults)
    good = write(tmp_path / "good.yaml", "runs: {a: 1}\n")
    refuse_doubled_keys([good])
    with pytest.raises(SettingsError, match="again in line 11"):
        refuse_doubled_keys([good, path])


@pytest.mark.parametrize("key", ["__use_yte__", "__definitions__", "__variables__"])
def test_a_key_that_runs_code_is_refused(tmp_path, key):
    path = write(tmp_path / "c.yaml", f"{key}: true\nseed: 1\n")
    with refused(
        f"{path}: {key}: settings are data, and this key runs code of the file; remove it", SettingsError
    ):
        read_settings(path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "word"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    path = write(tmp_path / "c.yaml", text)
    with refused(f"{path}: must be a mapping of settings", SettingsError):
        read_settings(path)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 1\n b: 2", "a: !!python/name:os.system x", "a: \x00", "a: 2021-13-45", "a: 1" + "0" * 5000],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path, text):
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}: cannot be read as YAML: ")
    assert "\n" not in fault


def test_a_missing_file_or_one_of_other_bytes_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read as YAML: .*No such file"):
        read_settings(tmp_path / "none.yaml")
    (tmp_path / "c.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(SettingsError, match=r"c\.yaml: cannot be read as YAML: .*utf-8"):
        read_settings(tmp_path / "c.yaml")
