"""One training from its settings to a model's folder."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from longspan.evaluation.held_out import choose_windows
from longspan.exports.model_card import model_card
from longspan.models import document_attention
from longspan.models.folders import copy_tokenizer, empty_folder, finish_model, read_manifest
from longspan.models.loading import load_model
from longspan.process.ranks import decided_by_first, is_first_process, processes_here
from longspan.scoring.self_scoring import SelfScoring
from longspan.store.permissions import follow_umask
from longspan.store.tables import write_table
from longspan.training.checkpoints import naming_last_checkpoint
from longspan.training.data import TrainingData
from longspan.training.folder import RunFolder
from longspan.training.loop import Execution, Guard, TrainingLog, save_weights, train
from longspan.training.windows import TrainingWindows
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import loss_of_settings
from longspan.windows.store import WindowStore


def train_run(
    folder: RunFolder,
    data: TrainingData,
    model: Path,
    *,
    execution: Mapping,
    guard: Mapping | None = None,
    held_out: WindowStore | None = None,
    card: Mapping | None = None,
    threads: int | None = None,
    code_digest: str | None = None,
) -> None:
    """Train a model, and write it with its card, what was logged and, last, its settings.

    Args:
        folder: where it goes, with the settings of the training.
        data: what it draws from.
        model: manifest of the base model.
        execution: fields of :class:`longspan.training.loop.Execution`.
        guard: `eval_steps`, `windows_per_document` and `seed` of what is scored in its course.
        held_out: the windows that it is drawn from.
        card: origin of model and texts, for the model's card; None writes no card.
        threads: CPU threads of all processes of this machine.
        code_digest: for the tables' manifests.

    Raises:
        ValueError, TrainingStopped, OSError: as :func:`longspan.training.loop.train`.
    """
    if threads:
        torch.set_num_threads(max(1, threads // processes_here()))
    decided_by_first(folder.start)
    settings = folder.identity["settings"]
    how = Execution(**execution, logging_folder=folder.logs)
    weighted = _weighted_model(model.parent, settings, data, how)
    rows = data.rows(
        settings["train"]["max_steps"] * settings["train"]["windows_per_update"], settings["seed"]
    )
    if is_first_process():
        print("epochs:", ", ".join(f"{name} {epochs:.2f}" for name, epochs in rows.epochs.items()))
    log = train(
        weighted,
        rows,
        folder.checkpoints,
        seed=settings["seed"],
        arguments=settings["train"],
        execution=how,
        guard=guard and _guard(held_out, **guard),
    )
    with naming_last_checkpoint(folder.checkpoints, "the trained model", folder.model):
        decided_by_first(lambda: empty_folder(folder.model))
        save_weights(weighted, folder.model)
        if is_first_process():
            _write_result(folder, log, data, model, execution, card, code_digest)


def _write_result(
    folder: RunFolder,
    log: TrainingLog,
    data: TrainingData,
    model: Path,
    execution: Mapping,
    card: Mapping | None,
    code_digest: str | None,
) -> None:
    copy_tokenizer(model.parent, folder.model)
    if card:
        facts = {"windows": len(data.long), "window_tokens": data.windows.window_tokens}
        (folder.model / "README.md").write_text(model_card(**card, **facts, identity=folder.identity))
    follow_umask(folder.model)
    license = read_manifest(model)["license"]
    finish_model(folder.model, source={"kind": "run", **folder.identity}, license=license)
    origin = folder.identity | {"code_digest": code_digest}
    write_table(folder.metrics, "training_metrics", log.metrics, **origin)
    write_table(folder.speed, "training_speed", log.speed, **origin)
    write_table(folder.guard, "training_guard", log.guard, **origin)
    folder.finish(dict(execution) | {"attention": log.attention, "device": log.device})


def _guard(held_out: WindowStore, *, eval_steps: int, windows_per_document: int | None, seed: int) -> Guard:
    chosen = choose_windows(held_out.document_ids, windows_per_document, seed)
    return Guard(TrainingWindows(held_out, chosen, None), eval_steps)


def _weighted_model(path: Path, settings: Mapping, data: TrainingData, execution: Execution) -> WeightedLM:
    # Shards come from the first process, so that a machine need not hold the weights once for each.
    here = is_first_process() or execution.sharding == "none"
    model = load_model(
        path,
        dtype="float32",
        attention=document_attention.NAME if data.short else settings["attention"],
        rope_theta=settings["rope_theta"],
        device="cpu" if here else "meta",
    )
    if data.short:
        _require_alike(model, settings, data)
    block = dict(settings["loss"])
    scoring = block.pop("self_scoring", None)
    loss = loss_of_settings(block)
    return WeightedLM(
        model,
        loss.weighting(),
        shuffle_weights=loss.shuffle_weights,
        self_scoring=scoring and SelfScoring(**scoring, bos_token_id=data.windows.bos_token_id),
        seed=settings["seed"],
    )


def _require_alike(model: nn.Module, settings: Mapping, data: TrainingData) -> None:
    """Refuse now what a batch with packed documents would be refused for in the course of the training."""
    window_tokens = data.windows.window_tokens
    documents = {min(source["document_tokens"], window_tokens) for source in settings["mixture"]}
    lengths = [[*documents, 1]]
    if settings["train"]["per_device_train_batch_size"] > 1:
        lengths.append([window_tokens])
    document_attention.require_alike(model, lengths)
