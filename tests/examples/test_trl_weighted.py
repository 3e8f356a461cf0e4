import pytest
import torch

from trainer_examples import TOKENS, assert_same, example, own_loss, save_model, write_export

pytest.importorskip("trl", reason="TRL is not installed: pip install 'longspan[examples]'")
trl_weighted = example("trl_weighted")
ONE_UPDATE = {
    "max_steps": 1,
    "logging_steps": 1,
    "save_strategy": "no",
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "train_sampling_strategy": "sequential",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def trained(folder, model, **options):
    """Loss of one update by the example's trainer, and its gradient's norm."""
    trainer = trl_weighted.main(
        str(folder / "export"), model, str(folder / "trained"), **ONE_UPDATE, **options
    )
    first = trainer.state.log_history[0]
    return first["loss"], first["grad_norm"]


@pytest.mark.parametrize("batch", [1, 4])
def test_the_loss_is_ours_over_any_batches(tmp_path, model, batch):
    rows = write_export(tmp_path / "export")
    found = trained(
        tmp_path, model, per_device_train_batch_size=batch, gradient_accumulation_steps=4 // batch
    )
    assert_same(found, own_loss(model, rows))


def test_packed_windows_see_nothing_of_each_other(tmp_path, model):
    rows = write_export(tmp_path / "export")
    found = trained(tmp_path, model, pack_tokens=len(rows) * TOKENS, per_device_train_batch_size=1)
    assert_same(found, own_loss(model, rows, packed=True))


def test_labels_that_are_ignored_and_what_pads_a_row_count_for_nothing(tmp_path, model):
    rows = write_export(tmp_path / "export")
    trainer = trl_weighted.main(str(tmp_path / "export"), model, str(tmp_path / "trained"), **ONE_UPDATE)
    ignored = torch.zeros(4, TOKENS, dtype=torch.bool)
    ignored[1, 5:9] = True
    ignored[2, 20:] = True
    labels = torch.tensor([row["input_ids"] for row in rows]).masked_fill(ignored, -100)
    examples = [row | {"labels": label.tolist()} for row, label in zip(rows, labels, strict=True)]
    # The third row ends where its labels do, and is padded to the others.
    examples[2] = {name: values[:20] for name, values in examples[2].items()}
    batch = trainer.data_collator(examples)
    trained = type(trainer.model).from_pretrained(model)
    trainer.model.load_state_dict(trained.state_dict())
    loss = trainer.compute_loss(trainer.model, batch).item()
    assert loss == pytest.approx(own_loss(model, rows, ignored=ignored)[0], rel=1e-6)
