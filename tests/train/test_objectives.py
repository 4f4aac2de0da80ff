"""Scheduled sampling and minimum risk training, against slow and plain versions."""

import itertools
import json
import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.checkpoint import find_model, load_model
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import open_data
from nmtcli.metrics.scores import score_sentences
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.batches import Batch, make_batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.objectives import make_objective
from nmtcli.train.risk import MinimumRisk, sequence_log_probs
from nmtcli.train.sampling import draw, sample_translations
from nmtcli.train.scheduled_sampling import ScheduledSampling, mixed_input, sigmoid_constant, teacher_forcing
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_model_laws import BAHDANAU, FEEDING, GNMT
from tests.laws.test_training_laws import tiny_batch

DECAYS = ["linear", "exponential", "inverse_sigmoid"]


def sampling(model: Seq2Seq, *settings: str) -> ScheduledSampling:
    config = load_config(overrides=["train.scheduled_sampling=linear", *settings])
    return ScheduledSampling(TrainingLoss(model, smoothing=0.1), config.train)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


# ---- the probability of a true token ----


@given(st.integers(1, 10**6), st.integers(1, 10**5))
def test_scheduled_sampling_decays_equal_the_paper(update, half_life):
    k, c = 1.0, 1 / (2 * half_life)
    assert teacher_forcing(update, "linear", half_life, 0.1) == pytest.approx(max(0.1, k - c * update))
    k = math.exp(-math.log(2) / half_life)
    assert teacher_forcing(update, "exponential", half_life, 0) == pytest.approx(k**update, rel=1e-6, abs=1e-12)
    k = sigmoid_constant(half_life)
    if update / k < 700:
        expected = k / (k + math.exp(update / k))
        assert teacher_forcing(update, "inverse_sigmoid", half_life, 0) == pytest.approx(expected)


@pytest.mark.parametrize("decay", DECAYS)
@given(
    half_life=st.integers(1, 10**6),
    floor=st.sampled_from([0, 0.25, 1]),
    updates=st.tuples(*[st.integers(1, 10**8)] * 2),
)
def test_every_decay_falls_to_its_minimum_through_one_half(decay, half_life, floor, updates):
    early, late = (teacher_forcing(update, decay, half_life, floor) for update in sorted(updates))
    assert floor <= late <= early <= 1
    assert teacher_forcing(half_life, decay, half_life, 0) == pytest.approx(0.5)
    assert teacher_forcing(10**12, decay, half_life, floor) == floor


# ---- drawing ----


def test_sampled_tokens_follow_the_distribution_without_pad_or_bos():
    torch.manual_seed(0)
    log_probs = torch.log_softmax(torch.randn(2, 3, 9), dim=-1)
    tokens = draw(log_probs, torch.rand(2, 3, 20_000))
    shares = torch.nn.functional.one_hot(tokens, 9).float().mean(dim=2)  # [2, 3, 9]
    expected = log_probs.exp()
    expected[..., [PAD, BOS]] = 0
    torch.testing.assert_close(shares, expected / expected.sum(-1, keepdim=True), atol=0.02, rtol=0)


def test_a_sampled_token_is_in_the_vocabulary_for_any_random_number():
    certain = torch.full((1, 1, 7), -torch.inf)
    certain[..., 4] = 0
    chance = torch.tensor([[[0.0, 0.5, 1 - 2**-24]]])
    assert draw(certain, chance).tolist() == [[[4, 4, 4]]]
    of_bos = torch.tensor([-2000.0, 0.0, -3000.0, -2000.0, -1000.0, -2000.0])[None, None]
    assert draw(of_bos, chance).tolist() == [[[4, 4, 4]]]
    assert int(draw(torch.full((1, 1, 7), torch.nan), chance).max()) < 7


@torch.no_grad()
def test_sampled_translations_follow_the_model_and_keep_length_limits(tiny_model):
    model = tiny_model(vocabulary=SPECIAL + 2)
    batch = tiny_batch(vocabulary=SPECIAL + 2, size=3)
    torch.manual_seed(0)
    drawn = sample_translations(model, batch.source, batch.source_length, torch.tensor([1, 2, 2]), samples=4000)
    assert drawn[0] == [(EOS,)] * 4000
    words = range(EOS + 1, SPECIAL + 2)
    for row in (1, 2):
        one = slice(row, row + 1)
        log_probs = model.log_probs(model(batch.source[one], batch.source_length[one], torch.tensor([[BOS]])))[0, 0]
        allowed = log_probs[EOS:].softmax(0)
        for token, tokens in ((EOS, (EOS,)), *((word, (word, EOS)) for word in words)):
            assert drawn[row].count(tokens) / 4000 == pytest.approx(float(allowed[token - EOS]), abs=0.03)


# ---- scheduled sampling ----


def test_teacher_forcing_probability_one_is_cross_entropy(tiny_model):
    model, batch = tiny_model(vocabulary=30).train(), tiny_batch()
    objective = sampling(model, "train.teacher_forcing_floor=1")
    state = torch.get_rng_state()
    expected = gradients(model, objective.loss(batch, 5)[0])
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    assert_same(gradients(model, objective(batch, 5)[0]), expected, atol=0, rtol=0)
    assert torch.equal(torch.get_rng_state(), after)
    metrics = objective.metrics([4 * math.log(2), 3], 4, 5)
    assert metrics == {"perplexity": pytest.approx(2.0), "accuracy": 0.75, "teacher_forcing": 1.0}


@pytest.mark.parametrize("settings", [[], FEEDING, GNMT])
@torch.no_grad()
def test_teacher_forcing_probability_zero_feeds_the_models_own_tokens(tiny_model, settings):
    model, batch = tiny_model("model.embedding.tie=none", *settings, vocabulary=30), tiny_batch()
    model.output.weight.mul_(1e5)  # so peaked that a draw is the likeliest token
    mixed = mixed_input(model, batch, probability=0.0)
    for row in range(len(batch.source)):
        tokens = [BOS]
        while len(tokens) < int((batch.target_input[row] != PAD).sum()):
            prefix = torch.tensor([tokens])
            source = batch.source[row : row + 1, : batch.source_length[row]]
            features = model(source, batch.source_length[row : row + 1], prefix)
            tokens.append(int(model.log_probs(features)[0, -1, EOS:].argmax()) + EOS)
        assert mixed[row].tolist() == tokens + [PAD] * (mixed.size(1) - len(tokens))


def test_mixed_input_keeps_the_given_share_of_true_tokens(tiny_model):
    model, batch = tiny_model(vocabulary=3000), tiny_batch(vocabulary=3000, size=200)
    torch.manual_seed(0)
    mixed = mixed_input(model, batch, probability=0.7)
    assert torch.equal(mixed[:, 0], batch.target_input[:, 0])
    assert torch.equal(mixed == PAD, batch.target_input == PAD)
    words = batch.target_input >= SPECIAL
    assert (mixed == batch.target_input)[words].float().mean().item() == pytest.approx(0.7, abs=0.05)


def test_the_model_stays_in_training_and_every_weight_gets_a_gradient_in_bf16_too(tiny_model):
    model, batch = tiny_model(vocabulary=30).train(), tiny_batch()
    objective = sampling(model, "train.teacher_forcing_half_life=1")
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(batch, 2)
    assert all(module.training for module in model.modules())
    found = gradients(model, loss)
    assert found.keys() == dict(model.named_parameters()).keys()


# ---- minimum risk ----


@pytest.fixture(scope="module")
def tokenizers(data):
    return open_data(data).tokenizers


def risk_of(model, tokenizers, *settings) -> MinimumRisk:
    config = load_config(overrides=["train.objective=mrt", *settings])
    found = make_objective(config, TrainingLoss(model, smoothing=0.1), tokenizers)
    assert isinstance(found, MinimumRisk)
    return found


@pytest.fixture
def few_words(tokenizers) -> Batch:
    """Three sentences whose targets are of two words that the tokenizer knows."""
    vocabulary = SPECIAL + 2
    random = torch.Generator().manual_seed(0)
    sides = [[torch.randint(SPECIAL, vocabulary, (n,), generator=random).tolist() for n in (1, 2, 2)] for _ in range(2)]
    return make_batch(*map(Sentences.of, sides))


@pytest.mark.parametrize("network", [[], FEEDING, BAHDANAU], ids=["default", "feeding", "bahdanau"])
@pytest.mark.parametrize(("metric", "alpha", "budget"), [("bleu", 1.0, 4000), ("chrf", 0.3, 9), ("bleu", 0.005, 1)])
def test_the_risk_of_all_candidates_is_the_explicit_sum(
    tiny_model, tokenizers, few_words, network, metric, alpha, budget
):
    model, batch = tiny_model("model.dropout=0", *network, vocabulary=SPECIAL + 2).train(), few_words
    settings = [f"train.mrt_metric={metric}", f"train.mrt_sharpness={alpha}", f"train.batch_tokens={budget}"]
    objective = risk_of(model, tokenizers, *settings)
    words = range(SPECIAL, SPECIAL + 2)
    everything = [(*prefix, EOS) for length in range(3) for prefix in itertools.product(words, repeat=length)]
    references = [tuple(row[: row.index(EOS) + 1]) for row in batch.target_output.tolist()]
    candidates = [list(dict.fromkeys([reference, *everything])) for reference in references]
    explicit = torch.zeros(())
    for row, own in enumerate(candidates):
        weights, costs = [], []
        for tokens in own:
            log_prob = torch.zeros(())
            for place, token in enumerate(tokens):
                prefix = torch.tensor([[BOS, *tokens[:place]]])
                one = slice(row, row + 1)
                features = model(batch.source[one, : batch.source_length[row]], batch.source_length[one], prefix)
                log_prob = log_prob + model.log_probs(features)[0, -1, token]
            weights.append(log_prob.exp() ** alpha)
            text, reference = (tokenizers.target.decode(list(ids)) for ids in (tokens, own[0]))
            costs.append(1 - score_sentences([text], [reference], metric)[0] / 100)
        explicit = explicit + sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights)
    expected = gradients(model, explicit)
    risks = objective.risks(batch, candidates)
    torch.testing.assert_close(risks.sum(), explicit, rtol=1e-4, atol=1e-5)
    assert_same(gradients(model, risks.sum()), expected, rtol=1e-3, atol=1e-6)


def test_risk_candidates_are_the_reference_and_each_sample_once(tiny_model, tokenizers, few_words):
    model = tiny_model(vocabulary=SPECIAL + 2).train()
    objective = risk_of(model, tokenizers, "train.mrt_samples=50", "search.max_length_offset=3")
    limits = few_words.source_length * 2 + 3
    for row, own in enumerate(objective.draw_candidates(few_words)):
        assert list(own[0][:-1]) == [t for t in few_words.target_output[row].tolist() if t not in (PAD, EOS)]
        assert len(set(own)) == len(own) <= 51
        assert all(tokens.index(EOS) == len(tokens) - 1 < limits[row] for tokens in own)
    assert model.training


def test_the_risk_of_a_batch_is_that_of_its_sentences_and_is_reported(tiny_model, tokenizers, few_words):
    model = tiny_model("model.dropout=0", vocabulary=SPECIAL + 2)
    objective = risk_of(model, tokenizers, "train.batch_tokens=4096")
    torch.manual_seed(0)
    loss, sums = objective(few_words, 1)
    assert not sums.requires_grad
    assert sums.tolist() == [loss.item(), 3]
    assert objective.metrics([6.0, 3], 1, 1) == {"risk": 2.0}
    candidates = objective.draw_candidates(few_words)
    alone = []
    for row, own in enumerate(candidates):
        pair = [[t for t in side[row].tolist() if t >= SPECIAL] for side in (few_words.source, few_words.target_output)]
        alone.append(objective.risks(make_batch(*(Sentences.of([words]) for words in pair)), [own]))
    torch.testing.assert_close(torch.cat(alone), objective.risks(few_words, candidates))


def test_sequence_log_probs_do_not_depend_on_padding(tiny_model):
    model, batch = tiny_model(vocabulary=30), tiny_batch()
    together = sequence_log_probs(model, batch.source, batch.source_length, batch.target_input, batch.target_output)
    nll = TrainingLoss(model, smoothing=0.0).evaluate(batch)[1]
    torch.testing.assert_close(-together.sum(), nll, rtol=1e-4, atol=1e-4)


def test_sentence_bleu_is_higher_for_better_translations():
    for metric in ("bleu", "chrf"):
        right, near, wrong = score_sentences(["1 2 3", "1 2 4", "7"], ["1 2 3"] * 3, metric)
        assert right == pytest.approx(100)
        assert right > near > wrong


# ---- whole runs ----


def records(run, event):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [record for record in lines if record["event"] == event]


@pytest.fixture(scope="module")
def halfway(data, tmp_path_factory):
    """A run that has learned something and makes mistakes."""
    run = tmp_path_factory.mktemp("halfway") / "run"
    settings = [*TINY, "model.embedding.size=32", "model.encoder.hidden_size=64", "model.decoder.hidden_size=64"]
    settings += ["model.dropout=0", "train.max_updates=60", "train.learning_rate=0.01", "train.valid_every=60"]
    assert nmt("train", data, "-o", run, "--device", "cpu", *overrides(*settings)) == 0
    return run


def test_minimum_risk_training_lowers_the_risk(data, halfway, tmp_path):
    run = tmp_path / "run"
    settings = ["max_updates=40", "learning_rate=0.003", "warmup_updates=3", "log_every=5", "schedule=constant"]
    settings += ["objective=mrt", "mrt_metric=chrf", "mrt_samples=8", "mrt_sharpness=0.1"]
    settings += ["batch_tokens=200", "precision=fp32", "valid_every=40", "valid_sentences=10"]
    command = ["train", data, "-o", run, "--finetune-from", halfway, "--device", "cpu"]
    assert nmt(*command, *overrides(*(f"train.{setting}" for setting in settings))) == 0
    risks = [record["risk"] for record in records(run, "updated")]
    assert sum(risks[-3:]) < 0.97 * sum(risks[:3])


def test_scheduled_sampling_logs_its_probability(data, tmp_path, capsys):
    settings = ["train.scheduled_sampling=linear", "train.teacher_forcing_half_life=8"]
    settings += ["train.teacher_forcing_floor=0.3"]
    command = ["train", data, "-o", tmp_path / "run", "--device", "cpu"]
    assert nmt(*command, *overrides(*TINY, *settings)) == 0
    found = [record["teacher_forcing"] for record in records(tmp_path / "run", "updated")]
    assert found == pytest.approx([max(0.3, 1 - step / 16) for step in (2, 4, 6, 8, 10, 12)])
    assert "teacher forcing 87.5%" in capsys.readouterr().err


def test_settings_of_another_objective_are_refused(data, tmp_path, capsys):
    for settings, words in {
        ("train.objective=mrt", "train.scheduled_sampling=linear"): "needs objective cross_entropy",
        ("train.mrt_samples=4",): "mrt_samples needs objective mrt",
        ("train.teacher_forcing_floor=0.4",): "teacher_forcing_floor needs scheduled_sampling",
    }.items():
        assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 2
        assert words in capsys.readouterr().err


# ---- a trained model as the beginning ----


def test_finetuning_starts_with_the_weights_and_settings_of_a_model(data, halfway, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", data, "-o", run, "--finetune-from", halfway, "--device", "cpu"]
    still = [setting for setting in TINY if setting.startswith(("train", "search"))]
    still += ["train.learning_rate=1e-12", "model.dropout=0.2"]
    assert nmt(*command, *overrides(*still)) == 0
    before, after = (load_model(find_model(path)) for path in (halfway, run))
    for (name, weight), other in zip(before.named_parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-6, rtol=0, msg=name)
    assert after.config == before.config.model_copy(update={"dropout": 0.2})
    (halfway / "best").rename(halfway / "elsewhere")  # a resume needs the model no more
    (halfway / "last").rename(halfway / "gone")
    try:
        assert nmt(*command, *overrides(*still, "train.max_updates=14")) == 0
    finally:
        (halfway / "elsewhere").rename(halfway / "best")
        (halfway / "gone").rename(halfway / "last")
    assert "resuming from update 12" in capsys.readouterr().err


def test_finetuning_with_other_model_settings_is_refused(data, corpus, trained, tmp_path, capsys):
    from tests.conftest import prepare_arguments

    def words(code, *arguments):
        assert nmt("train", *arguments, "--device", "cpu") == code
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    command = [data, "-o", tmp_path / "run", "--finetune-from"]
    assert "model.embedding.size was 16, is 32" in words(2, *command, trained, "--set", "model.embedding.size=32")
    assert "absent: no such model" in words(3, *command, tmp_path / "absent")
    assert nmt(*prepare_arguments(corpus, tmp_path / "other"), "--set", "data.tokenizer.type=char") == 0
    found = words(2, tmp_path / "other", *command[1:], trained)
    assert "the tokenizers of the model and of the data differ" in found
    assert "--tokenizer" in found
    exported = shutil.copytree(find_model(trained), tmp_path / "onnx")
    info = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps({**info, "kind": "onnx"}))
    assert "has no weights to train" in words(3, *command, exported)
