"""The tiny chain's results, for each test a copy of its own."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from tiny_chain import Chain
from tiny_inputs import make_inputs

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which every script of the chain has run."""
    folder = tmp_path_factory.mktemp("chain")
    make_inputs(folder / "inputs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Chain().make_all()
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, as the working folder."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def chain(folder) -> Chain:
    """The chain in the copy."""
    return Chain()
