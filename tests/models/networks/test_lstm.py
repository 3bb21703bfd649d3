"""The LSTM with peepholes against a plain loop, gains, the four ways to a video score."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.networks.lstm import CONSENSUSES, LSTM, PeepholeLSTM, combine_frames, frame_gains, frame_loss

SMALL = {"num_classes": 4, "backbone": "resnet18", "width": 8, "num_cells": 16, "num_layers": 2}


def build(**options):
    torch.manual_seed(0)
    return LSTM(**{**SMALL, **options}).eval()


def clip(num_frames, *, num_videos=2):
    return torch.randn(num_videos, num_frames, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def plain_layer(layer, x):
    """Equations 3.3 to 3.7, one cell at a time, in Python floats."""
    num_cells = layer.peephole.shape[1]
    rows = {gate: slice(k * num_cells, (k + 1) * num_cells) for k, gate in enumerate("ifco")}
    w_x = {gate: layer.weight_input[row].tolist() for gate, row in rows.items()}
    w_h = {gate: layer.weight_hidden[row].tolist() for gate, row in rows.items()}
    b = {gate: layer.bias[row].tolist() for gate, row in rows.items()}
    w_c = dict(zip("ifo", layer.peephole.tolist(), strict=True))
    hidden, cell, outputs = [0.0] * num_cells, [0.0] * num_cells, []

    def dot(a, b):
        return sum(p * q for p, q in zip(a, b, strict=True))

    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    for x_t in x.tolist():
        new_hidden, new_cell = [], []
        for k in range(num_cells):
            z = {gate: dot(w_x[gate][k], x_t) + dot(w_h[gate][k], hidden) + b[gate][k] for gate in "ifco"}
            i = sigmoid(z["i"] + w_c["i"][k] * cell[k])
            f = sigmoid(z["f"] + w_c["f"][k] * cell[k])
            c = f * cell[k] + i * math.tanh(z["c"])
            o = sigmoid(z["o"] + w_c["o"][k] * c)
            new_cell.append(c)
            new_hidden.append(o * math.tanh(c))
        hidden, cell = new_hidden, new_cell
        outputs.append(hidden)
    return torch.tensor(outputs)


def test_the_cell_is_that_of_the_equations():
    torch.manual_seed(0)
    lstm = PeepholeLSTM(5, 4, 2)
    x = torch.randn(3, 7, 5)
    expected = torch.stack([plain_layer(lstm.layers[1], plain_layer(lstm.layers[0], video)) for video in x])
    torch.testing.assert_close(lstm(x)[0], expected)


def test_without_peepholes_it_is_torchs_lstm():
    torch.manual_seed(0)
    ours, theirs = PeepholeLSTM(5, 4, 1), torch.nn.LSTM(5, 4, batch_first=True)
    layer = ours.layers[0]
    torch.nn.init.zeros_(layer.peephole)
    theirs.load_state_dict(
        {
            "weight_ih_l0": layer.weight_input,
            "weight_hh_l0": layer.weight_hidden,
            "bias_ih_l0": layer.bias,
            "bias_hh_l0": torch.zeros(16),
        }
    )
    x = torch.randn(2, 6, 5)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    lstm = PeepholeLSTM(3, 2, 2).double()
    x = torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True)
    state = [torch.randn(2, 2, dtype=torch.double, requires_grad=True) for _ in range(4)]

    def run(x, h1, c1, h2, c2, *_):
        outputs, after = lstm(x, [(h1, c1), (h2, c2)])
        return outputs, *after[0], *after[1]

    assert torch.autograd.gradcheck(run, (x, *state, *lstm.parameters()))


def test_steps_stay_in_float32_under_autocast():
    torch.manual_seed(0)
    lstm, x = PeepholeLSTM(5, 4, 2), torch.randn(2, 50, 5)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state = lstm(x)
    assert outputs.dtype == state[0][1].dtype == torch.float32
    torch.testing.assert_close(outputs, lstm(x)[0], rtol=0, atol=0.02)


def test_a_video_in_two_parts_with_the_state_handed_over_gives_the_same():
    torch.manual_seed(0)
    lstm, x = PeepholeLSTM(5, 4, 3), torch.randn(2, 9, 5)
    whole, _ = lstm(x)
    first, state = lstm(x[:, :4])
    second, _ = lstm(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_the_networks_size_is_the_dissertations():
    network = LSTM(num_classes=10)
    assert [tuple(layer.weight_input.shape) for layer in network.lstm.layers] == [(2048, 1024)] + [(2048, 512)] * 4
    assert {tuple(layer.peephole.shape) for layer in network.lstm.layers} == {(3, 512)}


def test_alexnet_hands_over_its_second_fully_connected_layer():
    torch.manual_seed(0)
    network = LSTM(num_classes=4, backbone="alexnet", num_cells=8, num_layers=1).eval()
    with torch.no_grad():
        features = network.frame_features(torch.randn(1, 2, 1, 3, 64, 64))
    assert features.shape == (1, 2, 4096) and features.min() == 0


def test_frame_scores_depend_on_frames_up_to_theirs_only():
    network, x = build(), clip(6)
    changed = x.clone()
    changed[:, 4] += 1
    with torch.no_grad():
        before, after = network.frame_scores(x), network.frame_scores(changed)
    assert before.shape == (2, 6, 4)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(2).min() > 0


def test_the_gain_grows_from_0_to_1():
    assert frame_gains(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert frame_gains(1).tolist() == [1]
    assert frame_gains(3, "one").tolist() == [1, 1, 1] and frame_gains(3, "last").tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="gain is 'first'; known gains: rising, one, last"):
        LSTM(num_classes=2, backbone="resnet18", width=8, gain="first")


def test_every_frame_learns_the_videos_label_with_its_gain():
    torch.manual_seed(0)
    scores, labels = torch.randn(3, 5, 4, requires_grad=True), torch.tensor([0, 3, 1])
    frame_loss(scores, labels).backward()
    plain = scores.detach().clone().requires_grad_()
    sum(F.cross_entropy(plain[:, t], labels) for t in range(5)).div(5).backward()
    torch.testing.assert_close(scores.grad, plain.grad * torch.linspace(0, 1, 5)[:, None])


def test_the_loss_takes_several_labels_a_video():
    scores, labels = torch.randn(2, 3, 4), torch.randint(0, 2, (2, 4)).float()
    loss = frame_loss(scores, labels, criterion=F.binary_cross_entropy_with_logits)
    frames = [F.binary_cross_entropy_with_logits(scores[:, t], labels) for t in range(3)]
    torch.testing.assert_close(loss, (0.5 * frames[1] + frames[2]) / 3)


def test_the_four_ways_to_a_video_score():
    probabilities = torch.tensor([[[0.6, 0.4], [0.1, 0.9], [0.7, 0.3]]])
    scores = probabilities.log() + 5  # a constant shift of scores means nothing
    expected = {
        "last": [0.7, 0.3],
        "max": [0.7 / 1.6, 0.9 / 1.6],
        "sum": [1.4 / 3, 1.6 / 3],
        "weighted": [0.75 / 1.5, 0.75 / 1.5],  # gains 0, 1/2, 1
    }
    for way, value in expected.items():
        torch.testing.assert_close(combine_frames(scores, way).softmax(1)[0], torch.tensor(value))


@pytest.mark.parametrize("consensus", ("last", "max", "sum", "weighted"))
def test_one_frame_is_its_own_video(consensus):
    network, x = build(consensus=consensus), clip(1)
    torch.testing.assert_close(network(x).softmax(1), network.frame_scores(x)[:, 0].softmax(1))


def test_gradients_of_the_weighted_score_are_finite_though_the_first_frame_weighs_nothing():
    scores = torch.randn(2, 4, 3, requires_grad=True)
    combine_frames(scores, "weighted")[:, 0].sum().backward()
    assert scores.grad.isfinite().all() and scores.grad[:, 0].abs().max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"consensus": "mean"}, "consensus is 'mean'; known ways: last, max, sum, weighted"),
        ({"num_layers": 0}, "num_layers is 0; it must be at least 1"),
        ({"num_cells": 0}, "num_cells is 0; it must be at least 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_flow_has_two_channels():
    assert build(modality="flow")(torch.zeros(1, 3, 1, 2, 32, 32)).shape == (1, 4)


def test_the_network_combines_its_frames_in_the_way_it_was_asked_for():
    found = []
    for consensus in CONSENSUSES:
        network = build(consensus=consensus)
        with torch.no_grad():
            found.append(network(clip(4)))
            torch.testing.assert_close(found[-1], combine_frames(network.frame_scores(clip(4)), consensus))
    assert all(not torch.allclose(one, other) for one, other in itertools.combinations(found, 2))


def test_a_new_layer_keeps_its_cell_by_a_bias_of_one_on_the_forget_gate():
    layer = PeepholeLSTM(3, 4, 1).layers[0]
    with torch.no_grad():
        for weight in (layer.weight_input, layer.weight_hidden, layer.peephole):
            weight.zero_()
        _, (_, cell) = layer(torch.zeros(1, 2, 3), (torch.zeros(1, 4), torch.ones(1, 4)))
    kept = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(cell, torch.full((1, 4), kept**2))
