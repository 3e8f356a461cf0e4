"""A bare training loop in the manner of torchtitan on an export's windows and their loss_weights.

    python examples/titan_loop.py results/exports/kept results/models/smollm2-135m trained

As there, the batches of a step sum their losses, over the number of targets of all of them on all devices. A
row can hold several windows: `position_ids` begin anew in each, and its first label is -100.
"""

import sys

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM


def weighted_loss(model, batch, valid_tokens):
    """Weighted NLL of a batch's labels but -100, over the number of targets of the step."""
    # With a cache, transformers takes no notice of where positions begin anew.
    logits = model(batch["input_ids"], position_ids=batch.get("position_ids"), use_cache=False).logits
    labels, weights = (batch[name][:, 1:].flatten() for name in ("labels", "loss_weights"))
    nll = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels, reduction="none")
    return (weights * nll).sum() / valid_tokens


def train_step(model, optimizer, batches):
    """One update over some batches (microbatches); its loss."""
    valid_tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in batches)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(valid_tokens)  # FSDP must sum gradients then, not average them
    optimizer.zero_grad()
    total = 0.0
    for batch in batches:
        (loss := weighted_loss(model, batch, valid_tokens)).backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total


def main(export, model, folder):
    """Train a model of a folder on an export."""
    lm = AutoModelForCausalLM.from_pretrained(model).train()
    optimizer = torch.optim.AdamW(lm.parameters(), lr=2e-5)
    rows = load_dataset(export, split="train").with_format("torch", ["input_ids", "loss_weights"])
    for batch in rows.iter(batch_size=1):
        print(train_step(lm, optimizer, [batch | {"labels": batch["input_ids"]}]))
    lm.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
