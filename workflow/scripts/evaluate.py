"""Measure a model's loss on held-out windows, by position.

    python workflow/scripts/evaluate.py --settings '{"windows_per_document": 2, "position_bins": 8, …}' \
        --model results/runs/main/dense/seed0/model/longspan.json \
        --tokens results/tokens/books/llama/held_out.parquet \
        --windows results/windows/books-2k/held_out.parquet \
        --evaluation results/evaluations/main/dense/seed0.parquet
"""

from pathlib import Path

from tqdm import tqdm

from longspan.evaluation.held_out import choose_windows, sums_by_position
from longspan.models.folders import read_manifest
from longspan.models.loading import load_model, pick_device
from longspan.process.command_line import parser_for, run_script
from longspan.scoring.vocabulary import require_embeddings
from longspan.store.code import code_digest
from longspan.store.tables import write_table
from longspan.windows.window_store import WindowStore


def main(argv=None):
    """Write one row for each window and part of it."""
    parser = parser_for(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model")
    parser.add_argument("--tokens", type=Path, required=True, help="table of held-out tokens")
    parser.add_argument("--windows", type=Path, required=True, help="table of held-out windows")
    parser.add_argument("--evaluation", required=True, help="table to write")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    import torch

    from longspan.scoring.nll import long_context_nll

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    manifest = read_manifest(arguments.model)
    windows = WindowStore({"held_out": (arguments.tokens, arguments.windows)})
    windows.require_tokenizer(manifest["tokenizer"]["identity"], arguments.model)
    require_embeddings(arguments.model, [arguments.tokens], windows)
    data_ids = choose_windows(windows.document_ids, settings["windows_per_document"], settings["seed"])
    if not data_ids:
        raise ValueError(
            "no held-out window: the works under hold_out are shorter than a window; hold out others"
        )
    forward = {key: settings[key] for key in ("dtype", "attention", "compile_layers", "rope_theta")}
    model = load_model(arguments.model.parent, **forward, device=pick_device()).eval()
    rows = []
    for data_id in tqdm(data_ids, desc="evaluate", unit="window"):
        ids_1T = torch.from_numpy(windows.input_ids(data_id))[None]
        nll_N = long_context_nll(model, ids_1T)[0].cpu().numpy()
        origin = {
            "data_id": data_id,
            "document_id": windows.document_ids[data_id],
            "category": windows.categories[data_id],
        }
        rows += [origin | part for part in sums_by_position(nll_N, settings["position_bins"])]
    write_table(
        arguments.evaluation,
        "evaluation",
        rows,
        settings=settings,
        inputs={"model": manifest["digest"], "windows": windows.windows_digests["held_out"]},
        tokenizer=windows.tokenizer,
        code_digest=code_digest("evaluate"),
    )


if __name__ == "__main__":
    run_script(main)
