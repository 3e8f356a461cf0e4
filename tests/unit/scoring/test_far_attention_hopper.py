"""How the Hopper kernel is compiled and kept; what it computes is tested under tests/gpu."""

import stat

import pytest
import torch

from longspan.scoring.kernels import far_attention_hopper
from longspan.scoring.kernels.far_attention_hopper import SOURCE, _compile, _library, _rows_of_16_bytes

NVCC = """#!/bin/sh
case "$1" in --version) echo "release 13.0"; exit 0;; esac
echo run >> "$0.log"
while [ "$1" != "-o" ]; do shift; done
echo library > "$2"
"""


@pytest.fixture
def nvcc(tmp_path, monkeypatch):
    compiler = tmp_path / "bin" / "nvcc"
    compiler.parent.mkdir()
    compiler.write_text(NVCC)
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("LONGSPAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(far_attention_hopper.shutil, "which", _which_under(tmp_path))
    return compiler


def _which_under(folder):
    return lambda name, path=None: str(folder / "bin" / name) if path else None


def test_a_head_dimension_is_compiled_once(nvcc):
    first = _compile(128)
    assert first.read_text() == "library\n"
    assert _compile(128) == first
    assert _compile(64) != first
    assert nvcc.with_name("nvcc.log").read_text() == "run\n" * 2
    assert sorted(first.parent.iterdir()) == sorted([first, _compile(64)])


def test_without_a_compiler_there_is_no_kernel(monkeypatch, caplog):
    monkeypatch.setattr(far_attention_hopper.shutil, "which", lambda *_, **__: None)
    _library.cache_clear()
    assert _library(128) is None
    assert "taking the Triton one: nvcc is neither on the PATH nor under CUDA_HOME" in caplog.text
    _library.cache_clear()


def test_the_source_is_there():
    assert "far_attention_launch" in SOURCE.read_text()


def test_only_layouts_that_the_copy_engine_reads_are_left_alone():
    x = torch.zeros(1, 2, 16, 64, dtype=torch.bfloat16)
    for kept in (x, x.transpose(1, 2).contiguous().transpose(1, 2), torch.cat([x, x], -1)[..., :64]):
        assert _rows_of_16_bytes(kept) is kept
    for copied in (
        x[..., 1:57],
        x.transpose(2, 3),
        torch.cat([x, x[..., :3]], -1)[..., :64],
        x[:, :1].expand(1, 2, 16, 64),
    ):
        assert _rows_of_16_bytes(copied).is_contiguous()
