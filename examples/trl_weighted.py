"""Train with TRL's SFTTrainer (trl>=1.16) on an export's windows and their loss_weights.

    python examples/trl_weighted.py results/exports/kept results/models/smollm2-135m trained

Further arguments of `main` are those of SFTConfig; without them it trains three epochs.
"""

import sys

import torch
from datasets import load_dataset
from torch.nn.utils.rnn import pad_sequence
from trl import SFTConfig, SFTTrainer, pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling


class WeightedCollator(DataCollatorForLanguageModeling):
    """TRL's batches with loss_weights [B, T], those of what pads a row 0."""

    def torch_call(self, examples):
        """Collate, in padding_free all rows into one, as TRL does."""
        weights = [torch.tensor(example["loss_weights"]) for example in examples]
        weights = [torch.cat(weights)] if self.padding_free else weights
        return super().torch_call(examples) | {"loss_weights": pad_sequence(weights, batch_first=True)}


class WeightedTrainer(SFTTrainer):
    """The weighted sum of the targets' NLL over their number; labels that are -100 count for nothing."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weigh the log-probabilities of TRL's fused output layer, which holds no logits."""
        weights = inputs.pop("loss_weights")[:, 1:]
        outputs = model(**inputs, fused_lm_head=True)
        # Gradients are averaged over processes; the number is of all of them.
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        targets = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch / processes
        loss = -(weights * outputs.log_probs).sum() / targets
        return (loss, outputs) if return_outputs else loss


def main(export, model, folder, pack_tokens=0, **training):
    """Train a model of a folder on an export, with `pack_tokens` on windows packed to rows of so many."""
    dataset = load_dataset(export, split="train").select_columns(["input_ids", "loss_weights"])
    dataset = pack_dataset(dataset, pack_tokens) if pack_tokens else dataset
    as_it_is = {"remove_unused_columns": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    collator = WeightedCollator(pad_token_id=0, padding_free=bool(pack_tokens))
    trainer = WeightedTrainer(model, SFTConfig(folder, **as_it_is, **training), collator, dataset)
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:])
