"""The weighted model under Hugging Face's Trainer."""

import pytest
import torch
import transformers

from longspan.scoring.self_scoring import SelfScoring
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from tiny_models import random_ids, tiny_model


def collate(rows):
    ids = torch.stack([row["input_ids"] for row in rows])
    return {"input_ids": ids, "labels": ids.clone(), "sequence_ids": [row["data_id"] for row in rows]}


def trainer_of(folder, architecture="llama", sequences_per_step=4, accumulation=1, **arguments):
    module = WeightedLM(
        tiny_model(architecture),
        weighting_from_settings({"variant": "ppmi", "sparsification": 0.3}),
        self_scoring=SelfScoring(base_length=16, base_stride=8),
    )
    rows = [{"input_ids": ids, "data_id": f"tiny-00000_{k:07d}"} for k, ids in enumerate(random_ids(16, 40))]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=sequences_per_step,
        gradient_accumulation_steps=accumulation,
        max_steps=4,
        learning_rate=1e-3,
        report_to=[],
        logging_steps=1,
        use_cpu=True,
        remove_unused_columns=False,
        gradient_checkpointing=True,
        disable_tqdm=True,
        **arguments,
    )
    return transformers.Trainer(model=module, args=arguments, train_dataset=rows, data_collator=collate)


def parameters(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def losses(trainer):
    return torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


def test_accumulation_equals_one_big_batch(tmp_path):
    options = {"optim": "sgd", "save_strategy": "no"}
    whole = trainer_of(tmp_path, sequences_per_step=4, accumulation=1, **options)
    split = trainer_of(tmp_path, sequences_per_step=1, accumulation=4, **options)
    whole.train()
    split.train()
    torch.testing.assert_close(parameters(split), parameters(whole), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(losses(split), losses(whole), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "llama_tied"])
def test_a_resumed_run_equals_an_unbroken_one_to_the_bit(tmp_path, architecture):
    unbroken = trainer_of(tmp_path, architecture, save_steps=2)
    unbroken.train()
    resumed = trainer_of(tmp_path, architecture, save_steps=2)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert torch.equal(parameters(resumed), parameters(unbroken))
    assert not torch.equal(parameters(unbroken), parameters(trainer_of(tmp_path, architecture)))
