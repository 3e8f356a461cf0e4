"""The examples of other trainers as modules, and our own weighted loss to compare theirs with."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from longspan.models.document_attention import NAME
from longspan.store.contracts import CONTRACTS
from longspan.weighting.loss import WeightedLM
from tiny_inputs import make_model

EXAMPLES = Path(__file__).parents[1] / "examples"
TOKENS = 24


def example(name: str) -> ModuleType:
    """An example as a module."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write_export(folder: Path, rows: int = 4) -> list[dict]:
    """Rows of random tokens and weights, as an export of the format `tokens` in a folder."""
    draw = np.random.default_rng()
    made = [
        {
            "input_ids": draw.integers(3, 256, TOKENS).tolist(),
            "loss_weights": np.append(0, draw.exponential(size=TOKENS - 1)).astype(np.float32).tolist(),
        }
        for _ in range(rows)
    ]
    (folder / "data").mkdir(parents=True)
    table = pa.Table.from_pylist(made, schema=CONTRACTS["exported_tokens"].columns)
    pq.write_table(table, folder / "data" / "00000.parquet")
    return made


def save_model(folder: Path) -> str:
    """A tiny model with its tokenizer, in Hugging Face form."""
    make_model(folder, ["The sea was calm; the captain answered."])
    return str(folder)


def lines_of_code(name: str) -> int:
    """Lines of an example without docstrings, comments and blank lines."""
    text = (EXAMPLES / f"{name}.py").read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    left_out = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return sum(bool(line) and not line.startswith("#") and number not in left_out for number, line in lines)


def assert_same(found: tuple[float, float], expected: tuple[float, float]) -> None:
    """Losses agree to 1e-6, norms of gradients, which add up in other orders, to 1e-5."""
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert found[1] == pytest.approx(expected[1], rel=1e-5)


def own_loss(
    model: str, rows: list[dict], *, packed: bool = False, ignored: torch.Tensor | None = None
) -> tuple[float, float]:
    """Our loss of some rows, and the norm of its gradient.

    Args:
        model: folder of the model.
        rows: of an export.
        packed: all rows are documents of one sequence.
        ignored: [rows, tokens] bool, targets that do not count.
    """
    lm = AutoModelForCausalLM.from_pretrained(model, attn_implementation=NAME)
    ids, weights = (torch.tensor([row[name] for row in rows]) for name in ("input_ids", "loss_weights"))
    labels = ids if ignored is None else ids.masked_fill(ignored, -100)
    documents = {}
    if packed:
        labels = labels.clone()
        labels[:, 0] = -100
        ids, weights, labels = (values.reshape(1, -1) for values in (ids, weights, labels))
        documents = {"document_lengths": [[TOKENS] * len(rows)]}
    loss = WeightedLM(lm)(ids, labels, token_weights=weights[:, 1:], **documents)["loss"]
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in lm.parameters()])
    return loss.item(), gradient.norm().item()
