import pytest
import torch
from transformers import AutoModelForCausalLM

from trainer_examples import TOKENS, assert_same, example, own_loss, save_model, write_export

titan_loop = example("titan_loop")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def batch_of(rows):
    batch = {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "loss_weights")}
    return batch | {"labels": batch["input_ids"].clone()}


def step(model, batches):
    """Loss of an update, and its gradient's norm before it is clipped."""
    lm = AutoModelForCausalLM.from_pretrained(model).train()
    norms = []
    clip = torch.nn.utils.clip_grad_norm_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: norms.append(clip(*given).item()))
        loss = titan_loop.train_step(lm, torch.optim.SGD(lm.parameters(), lr=0.0), batches)
    return loss, norms[0]


def test_the_loss_is_ours_over_any_batches(tmp_path, model):
    rows = write_export(tmp_path)
    expected = own_loss(model, rows)
    for cuts in ([rows], [rows[:1], rows[1:]]):
        assert_same(step(model, [batch_of(part) for part in cuts]), expected)


def test_labels_that_are_ignored_count_for_nothing(tmp_path, model):
    rows = write_export(tmp_path)
    ignored = torch.zeros(len(rows), TOKENS, dtype=torch.bool)
    ignored[1, 5:9] = True
    batch = batch_of(rows)
    batch["labels"][ignored] = -100
    assert_same(step(model, [batch]), own_loss(model, rows, ignored=ignored))


def test_packed_windows_see_nothing_of_each_other(tmp_path, model):
    rows = write_export(tmp_path)
    batch = batch_of(rows)
    batch["labels"][:, 0] = -100
    packed = {name: values.reshape(1, -1) for name, values in batch.items()}
    packed["position_ids"] = torch.arange(TOKENS).repeat(1, len(rows))
    assert_same(step(model, [packed]), own_loss(model, rows, packed=True))


def test_the_command_trains_on_an_export(tmp_path, model, capsys):
    rows = write_export(tmp_path / "export")
    titan_loop.main(str(tmp_path / "export"), model, tmp_path / "trained")
    losses = [float(line) for line in capsys.readouterr().out.split()]
    assert len(losses) == len(rows)
    assert losses[0] == pytest.approx(own_loss(model, rows[:1])[0], rel=1e-6)
    assert (tmp_path / "trained" / "model.safetensors").exists()
