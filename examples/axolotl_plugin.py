"""Train with axolotl 0.19 on an export in the format `tokens`, by its loss_weights.

    plugins: [axolotl_plugin.LossWeightsPlugin]
    datasets: [{ path: results/exports/kept, type: completion }]
    sample_packing: true
    sequence_len: 32768 # tokens of a row, of as many windows as it has room for

are its settings beside those of the model and the training; this file's folder is on PYTHONPATH.
"""

import torch
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.core.trainers import AxolotlTrainer
from axolotl.integrations.base import BasePlugin
from axolotl.utils.collators import V2BatchSamplerDataCollatorForSeq2Seq
from axolotl.utils.trainer import add_position_ids
from datasets import load_dataset


class WeightedCollator(V2BatchSamplerDataCollatorForSeq2Seq):
    """axolotl's rows of packed windows, with loss_weights [B, T], those of what pads a row 0."""

    def __call__(self, features, return_tensors=None):
        """Collate rows, each a list of windows."""
        weights = [[value for window in row for value in window.pop("loss_weights")] for row in features]
        batch = super().__call__(features, return_tensors)
        padded = [row + [0.0] * (batch["labels"].shape[1] - len(row)) for row in weights]
        return batch | {"loss_weights": torch.tensor(padded)}


class WeightedTrainer(AxolotlTrainer):
    """The weighted sum of the targets' NLL over their number; labels that are -100 count for nothing."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weigh the NLL of all logits. With a cache, packed windows would see each other."""
        weights, labels = (inputs.pop(name)[:, 1:].flatten() for name in ("loss_weights", "labels"))
        logits = (outputs := model(**inputs, use_cache=False)).logits[:, :-1].flatten(0, 1).float()
        nll = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        # Gradients are averaged over processes; the number is of all of them.
        targets = num_items_in_batch and num_items_in_batch / self.accelerator.num_processes
        loss = (weights * nll).sum() / (targets or (labels != -100).sum())
        return (loss, outputs) if return_outputs else loss


class LossWeightsPlugin(BasePlugin):
    """An export's windows as they are, of which the first token is no target, and the weighted loss."""

    def load_datasets(self, cfg, preprocess=False):
        """Read the export."""
        rows = load_dataset(cfg.datasets[0]["path"], split="train")
        rows = rows.map(lambda row: add_position_ids(row | {"labels": [-100, *row["input_ids"][1:]]}))
        return TrainDatasetMeta(rows, total_num_steps=cfg.max_steps)

    def get_trainer_cls(self, cfg):
        """The trainer."""
        return WeightedTrainer

    def get_collator_cls_and_kwargs(self, cfg, is_eval=False):
        """The collator."""
        return WeightedCollator, {}
