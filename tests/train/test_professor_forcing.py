"""Professor forcing: what the discriminator teaches the model, its place in checkpoints, and several ranks."""

import json
import os
import shutil
import socket

import pytest
import torch
import torch.multiprocessing

from nmtcli.checkpoint import WEIGHTS, RunDirectory, load_tensors
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train import professor_forcing, scheduled_sampling
from nmtcli.train.distributed import Ranks, joined
from nmtcli.train.gradients import Gradients
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.objectives import make_objective
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.professor_forcing import PREFIX, Adversary, ProfessorForcing, Verdicts, free_length
from nmtcli.vocabulary import BOS, EOS, PAD
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_model_laws import BAHDANAU, FEEDING, GNMT
from tests.laws.test_training_laws import tiny_batch
from tests.train.runs import events
from tests.train.test_gradients import CPU, Pairs, assert_close, make_model

PROFESSOR = ["train.objective=professor_forcing", "train.professor_hidden_size=8"]


def professor(model: Seq2Seq, *settings: str) -> ProfessorForcing:
    config = load_config(overrides=[*PROFESSOR, *settings]).model_copy(update={"model": model.config})
    found = make_objective(config, TrainingLoss(model, smoothing=0.1), tokenizers=None)
    assert isinstance(found, ProfessorForcing)
    return found


def adversary_of(objective, ranks=None):
    return Adversary(objective, load_config(overrides=PROFESSOR), ranks or Ranks())


def some_states(objective, seed=0, count=6, size=5):
    width = objective.discriminator.forwards.rnn.input_size
    states = torch.randn(count, size, width, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return states, torch.tensor([1, 2, 3, 4, 5, 5][:count])


# ---- what the model learns from the discriminator ----


def test_equal_distributions_at_chance_teach_the_model_nothing(tiny_model):
    """Two identical sets of states: where the discriminator says one half, both losses together have no gradient."""
    objective = professor(tiny_model(vocabulary=30))
    objective.accuracy = 0.9
    last = objective.discriminator.judge[-1]
    torch.nn.init.zeros_(last.bias)
    states, length = some_states(objective)
    for spread in (0.0, 1.0):  # at chance, and where it has an opinion
        torch.nn.init.normal_(last.weight, std=spread)
        twin = states.detach().clone().requires_grad_()
        verdicts, adversarial = objective.judge((states, twin), (length, length))
        slopes = torch.autograd.grad(adversarial, [states, twin])
        assert torch.equal(verdicts.forced, verdicts.free)
        if spread:
            assert all(slope.abs().max() > 1e-4 for slope in slopes)
        else:
            assert all(not slope.any() for slope in slopes)
            own = torch.autograd.grad(verdicts.discriminator_loss, list(objective.discriminator.parameters()))
            assert all(slope.abs().max() < 1e-6 for slope in own)


def test_a_discriminator_of_equal_distributions_stays_at_chance_and_below_the_threshold(tiny_model):
    objective = professor(tiny_model(vocabulary=30))
    adversary = adversary_of(objective)
    states, length = some_states(objective)
    for _ in range(20):
        verdicts, adversarial = objective.judge((states, states), (length, length))
        assert not adversarial.requires_grad
        assert adversarial == 0
        verdicts.discriminator_loss.backward()
        adversary.update(torch.stack([verdicts.correct, torch.tensor(2.0 * len(states))]), MixedPrecision("fp32", CPU))
        adversary.optimizer.zero_grad()
        assert objective.accuracy == pytest.approx(0.5)
    assert states.grad is None


def test_both_losses_are_those_of_the_paper_and_reach_one_side_each(tiny_model):
    objective = professor(tiny_model(vocabulary=30))
    objective.accuracy = 0.9
    (forced, length), (free, _) = some_states(objective), some_states(objective, seed=1)
    verdicts, adversarial = objective.judge((forced, free), (length, length))
    true, drawn = (objective.discriminator(states, length).sigmoid() for states in (forced, free))
    expected = -(true.log() + (1 - drawn).log()).sum()
    torch.testing.assert_close(verdicts.discriminator_loss, expected)
    fooled = -(drawn.log() + (1 - true).log()).sum()
    torch.testing.assert_close(adversarial, fooled)
    assert verdicts.correct == ((true > 0.5).sum() + (drawn < 0.5).sum())
    slopes = torch.autograd.grad(fooled, [forced, free])
    weights = list(objective.discriminator.parameters())
    found = torch.autograd.grad(adversarial, [forced, free, *weights], allow_unused=True, retain_graph=True)
    torch.testing.assert_close(found[:2], slopes)
    assert found[2:] == (None,) * len(weights)
    own = torch.autograd.grad(verdicts.discriminator_loss, [*weights, forced, free], allow_unused=True)
    assert own[-2:] == (None, None)
    assert all(slope is not None for slope in own[: len(weights)])


def test_a_verdict_does_not_depend_on_padding_or_on_other_sentences(tiny_model):
    discriminator = professor(tiny_model(vocabulary=30)).discriminator
    states, length = some_states(professor(tiny_model(vocabulary=30)))
    together = discriminator(states, length)
    alone = [discriminator(states[row : row + 1, :size], length[row : row + 1]) for row, size in enumerate(length)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(
    ("accuracy", "fooled", "learns"), [(0.5, False, True), (0.75, False, True), (0.9, True, True), (1.0, True, False)]
)
def test_who_learns_depends_on_the_accuracy_of_the_last_update(tiny_model, accuracy, fooled, learns):
    model, batch = tiny_model("model.dropout=0", vocabulary=30).train(), tiny_batch()
    objective = professor(model)
    adversary = adversary_of(objective)
    torch.manual_seed(0)
    plain, _ = objective.loss(batch)
    expected = gradients_of(model, plain)
    objective.accuracy = accuracy
    torch.manual_seed(0)
    loss, sums = objective(batch, 1)
    found = gradients_of(model, loss)
    same = all(torch.allclose(found[name], slope, rtol=1e-5, atol=1e-7) for name, slope in expected.items())
    assert same is not fooled
    assert (loss.item() == pytest.approx(plain.item(), rel=1e-6)) is not fooled
    before = [weight.clone() for weight in objective.discriminator.parameters()]
    adversary.update(torch.cat([loss.detach()[None], sums]), MixedPrecision("fp32", CPU))
    moved = [not torch.equal(*pair) for pair in zip(before, objective.discriminator.parameters(), strict=True)]
    assert any(moved) is learns
    assert objective.accuracy == (sums[-2] / sums[-1]).item()


def gradients_of(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


# ---- behaviour ----


@pytest.mark.parametrize("settings", [[], FEEDING, BAHDANAU, GNMT], ids=["default", "feeding", "bahdanau", "gnmt"])
def test_states_of_a_position_are_those_of_its_prefix(tiny_model, settings):
    model, batch = tiny_model("model.dropout=0", *settings, vocabulary=30), tiny_batch()
    whole = model.decode(batch.source, batch.source_length, batch.target_input).states
    part = model.decode(batch.source, batch.source_length, batch.target_input[:, :3]).states
    assert whole.shape == (*batch.target_input.shape, model.config.decoder.hidden_size)
    torch.testing.assert_close(whole[:, :3], part)


def test_a_free_run_ends_with_its_own_end_or_with_the_reference():
    batch = tiny_batch(size=3)
    length = (batch.target_output != PAD).sum(dim=1)
    tokens = torch.full_like(batch.target_output, 9)
    tokens[:, 0] = BOS
    tokens[0, 1:] = EOS
    assert free_length(tokens, batch).tolist() == [1, *length[1:].tolist()]


def test_every_weight_gets_a_gradient_in_bf16_too(tiny_model):
    model, batch = tiny_model(vocabulary=30).train(), tiny_batch()
    objective = professor(model)
    objective.accuracy = 0.9
    with torch.autocast("cpu", torch.bfloat16):
        loss, sums = objective(batch, 2)
    assert not sums.requires_grad
    assert len(sums) == objective.log_sums
    loss.backward()
    assert all(weight.grad is not None for weight in objective.parameters())
    assert all(module.training for module in model.modules())


# ---- several ranks ----


def likeliest(log_probs, chance):
    return log_probs[..., EOS:].argmax(-1, keepdim=True).expand(chance.shape) + EOS


def five_updates(batches, ranks):
    """Weights of model and discriminator, and the accuracies, after some updates; drawn tokens are the likeliest."""
    torch.manual_seed(0)
    model = make_model()
    config = load_config(overrides=PROFESSOR).model_copy(update={"model": model.config})
    objective = ProfessorForcing(TrainingLoss(model, smoothing=0.1), config)
    objective.accuracy = 0.9
    parallel = ranks.share(objective, False, CPU)
    adversary = Adversary(objective, config, ranks)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    computer = Gradients(parallel, ranks, CPU, 1, lambda batch: None, objective.log_sums)
    accuracies = []
    for update in range(1, 6):
        _, sums = computer.compute(batches, None, update, MixedPrecision("fp32", CPU))
        adversary.update(sums, MixedPrecision("fp32", CPU))
        accuracies.append(objective.accuracy)
        optimizer.step()
        parallel.forget()
    return {name: weight.detach().clone() for name, weight in objective.named_parameters()}, accuracies


def in_two_ranks(rank, port, path):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    scheduled_sampling.draw = likeliest  # a drawn token depends on the rank that draws it
    with joined(CPU) as ranks:
        weights, accuracies = five_updates(Pairs().of(rank, 2), ranks)
        assert ranks.gather(accuracies) == [accuracies] * 2
    if rank == 0:
        torch.save(weights, path)
        path.with_suffix(".json").write_text(json.dumps(accuracies))


def test_two_ranks_equal_one(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduled_sampling, "draw", likeliest)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_two_ranks, (port, tmp_path / "found.pt"), nprocs=2)
    expected, accuracies = five_updates(Pairs().whole(), Ranks())
    assert_close(torch.load(tmp_path / "found.pt", weights_only=True), expected)
    assert json.loads((tmp_path / "found.json").read_text()) == pytest.approx(accuracies)


# ---- whole runs ----


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("professor") / "run"
    command = ["train", data, "-o", path, "--device", "cpu", *overrides(*TINY, *PROFESSOR)]
    assert nmt(*command) == 0
    return path


def test_a_checkpoint_translates_without_the_discriminator(run, corpus, tmp_path):
    checkpoint = RunDirectory(run).pointer("last")
    assert not [name for name in load_tensors(checkpoint / WEIGHTS) if "discriminator" in name]
    tensors = load_tensors(checkpoint / "trainer.safetensors")
    kept = {name.removeprefix(PREFIX).partition(".")[0] for name in tensors if name.startswith(PREFIX)}
    assert kept == {"weight", "adam", "accuracy"}
    (checkpoint / "trainer.safetensors").rename(tmp_path / "trainer.safetensors")
    try:
        translation = tmp_path / "out"
        assert nmt("translate", "-m", checkpoint, "-i", corpus / "valid.words", "-o", translation) == 0
    finally:
        (tmp_path / "trainer.safetensors").rename(checkpoint / "trainer.safetensors")
    assert len(translation.read_text().splitlines()) == 40


def test_the_log_has_accuracy_and_both_losses(run):
    found = events(run, "updated")
    for record in found:
        assert 0 <= record["discriminator_accuracy"] <= 1
        assert record["discriminator_loss"] > 0 < record["adversarial_loss"]
        assert record["perplexity"] > 1
    assert "Accuracy of the discriminator" in (run / "curves.html").read_text("utf-8")


def test_verify_resume_of_professor_forcing_is_exact(data, tmp_path, capsys):
    settings = [*TINY, *PROFESSOR, "train.professor_learning_rate=0.05", "train.ema=0.9"]
    command = ["train", data, "-o", tmp_path / "scratch", "--device", "cpu", "--verify-resume", "6"]
    assert nmt(*command, *overrides(*settings)) == 0
    assert "identical: all" in capsys.readouterr().out


def test_a_run_that_changes_its_objective_starts_a_new_discriminator(trained, tmp_path, data):
    run = shutil.copytree(trained, tmp_path / "run")
    command = ["train", data, "-o", run, "--device", "cpu", "--allow-changes"]
    assert nmt(*command, *overrides(*TINY, *PROFESSOR, "train.max_updates=14")) == 0
    assert events(run, "updated")[-1]["discriminator_accuracy"] >= 0


def test_a_discriminator_of_another_size_starts_anew(run, tmp_path, data):
    run = shutil.copytree(run, tmp_path / "run")
    last = events(run, "updated")[-1]["step"]
    more = ["train.professor_hidden_size=24", f"train.max_updates={last + 2}"]
    command = ["train", data, "-o", run, "--device", "cpu", "--allow-changes"]
    assert nmt(*command, *overrides(*TINY, *PROFESSOR, *more)) == 0
    assert events(run, "updated")[-1]["step"] == last + 2


@pytest.mark.parametrize(
    ("settings", "words"),
    {
        ("model.decoder.type=transformer",): "professor_forcing needs model.decoder.type rnn, not transformer",
        ("model.decoder.type=ssru",): "professor_forcing needs model.decoder.type rnn, not ssru",
        ("train.scheduled_sampling=linear",): "needs objective cross_entropy, not professor_forcing",
        ("train.guided_alignment=1",): "needs objective cross_entropy, not professor_forcing",
        ("train.sharded=true",): "sharded models cannot be sampled from",
        ("train.objective=mrt",): "professor_hidden_size needs objective professor_forcing",
    }.items(),
)
def test_settings_that_do_not_go_together_are_refused(data, tmp_path, capsys, settings, words):
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*PROFESSOR, *settings)) == 2
    assert words in capsys.readouterr().err


def test_right_verdicts_are_counted_for_both_kinds():
    verdicts = Verdicts(torch.tensor([1.0, -1.0, 2.0]), torch.tensor([-3.0, -1.0, 0.5]))
    assert verdicts.correct == 4
    assert professor_forcing.FOOLED_ABOVE < professor_forcing.TRAINED_BELOW
