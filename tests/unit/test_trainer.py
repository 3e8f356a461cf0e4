"""The weighted model under Hugging Face's Trainer."""

import torch
import transformers

from longspan.self_scoring import SelfScoring
from longspan.weighted_loss import WeightedLM
from longspan.weighting import weighting_from_settings
from tiny_models import random_ids, tiny_model


def collate(rows):
    ids = torch.stack([row["input_ids"] for row in rows])
    return {"input_ids": ids, "labels": ids.clone(), "sequence_ids": [row["data_id"] for row in rows]}


def trained(folder, sequences_per_step, accumulation):
    module = WeightedLM(
        tiny_model("llama"),
        weighting_from_settings({"variant": "ppmi", "sparsification": 0.3}),
        self_scoring=SelfScoring(base_length=16, base_stride=8),
    )
    rows = [{"input_ids": ids, "data_id": f"tiny-00000_{k:07d}"} for k, ids in enumerate(random_ids(8, 40))]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=sequences_per_step,
        gradient_accumulation_steps=accumulation,
        max_steps=3,
        learning_rate=1e-3,
        optim="sgd",
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        remove_unused_columns=False,
        gradient_checkpointing=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=module, args=arguments, train_dataset=rows, data_collator=collate)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return torch.cat([p.detach().flatten() for p in module.parameters()]), torch.tensor(losses)


def test_accumulation_equals_one_big_batch(tmp_path):
    whole, losses = trained(tmp_path, 4, 1)
    split, split_losses = trained(tmp_path, 1, 4)
    torch.testing.assert_close(split, whole, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(split_losses, losses, rtol=1e-4, atol=1e-4)
