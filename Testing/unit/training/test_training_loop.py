"""The training loop at toy size: exact resuming, stopping, breaking down, many processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import Cancelled, InputError, UsageError  # noqa: E402
from ctrestorelib.training.checkpoint import NAME  # noqa: E402
from ctrestorelib.training.curves import Curves, read_curves  # noqa: E402
from ctrestorelib.training.loop import TrainingSettings, train  # noqa: E402
from ctrestorelib.training.prefetch import batch_rng, batches_ahead  # noqa: E402
from ctrestorelib.training.stepper import Diverged, Stepper, ema_decay, learning_rate  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Dropout(0.3), torch.nn.Conv2d(4, 1, 3)
    )


def batches(step, rng):
    return {"x": torch.from_numpy(rng.normal(size=(2, 1, 8, 8))).float()}


def loss(net, batch):
    value = (net(batch["x"]) - batch["x"][..., 1:-1, 1:-1]).square().mean()
    return value, {"mse": float(value.detach())}


def settings(**changes):
    base = {"steps": 12, "warmup_steps": 2, "learning_rate": 0.01, "log_every": 3, "seed": 5,
            "validate_every": 6, "checkpoint_seconds": 1000, "ema_decay": 0.9}  # fmt: skip
    return TrainingSettings(**{**base, **changes})


def validate(net):
    return {"weights": float(sum(p.abs().sum() for p in net.parameters()))}


def run(folder, the_loss=loss, net=None, **changes):
    said = []
    done = train(
        net or network(), batches, the_loss, settings(**changes), folder,
        validate=validate, report=said.append,
    )  # fmt: skip
    return done, said


def interrupting(at, action):
    """Return the loss that does something else at its ``at``-th call (counted from 1)."""
    calls = []

    def other(net, batch):
        calls.append(1)
        if len(calls) == at:
            action()
        return loss(net, batch)

    return other


def curves_without_time(folder):
    return [{k: v for k, v in row.items() if k != "seconds"}
            for row in read_curves(folder / "curves.csv")]  # fmt: skip


def crash():
    message = "power cut"
    raise RuntimeError(message)


def test_a_training_stopped_and_crashed_ends_like_one_that_ran_through(tmp_path):
    through, _ = run(tmp_path / "through")
    folder = tmp_path / "stopped"
    with pytest.raises(Cancelled, match="after step 4 of 12"):
        run(folder, interrupting(4, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(RuntimeError, match="power cut"):
        run(folder, interrupting(6, crash))  # step 10: after the curve row of step 9
    assert [row["step"] for row in read_curves(folder / "curves.csv")] == [3, 6, 9]
    resumed, said = run(folder, prefetch=0)
    assert said[0] == "Going on from step 4 of 12."
    assert resumed.weights.read_bytes() == through.weights.read_bytes()
    assert curves_without_time(folder) == curves_without_time(tmp_path / "through")
    assert [row["step"] for row in read_curves(folder / "curves.csv")] == [3, 6, 9, 12]


def test_a_finished_training_is_not_done_again(tmp_path):
    first, _ = run(tmp_path)
    stamp = first.weights.stat().st_mtime_ns
    again, _ = run(tmp_path, the_loss=interrupting(1, crash))
    assert first.weights.stat().st_mtime_ns == stamp
    assert again.last == first.last
    for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_handlers_of_signals_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Cancelled):
        run(tmp_path, interrupting(2, lambda: signal.raise_signal(signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 2


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    calls = []

    def breaking(net, batch):
        value, parts = loss(net, batch)
        calls.append(1)
        return (value * np.nan if len(calls) == 5 else value), parts

    net = network()
    with pytest.raises(Diverged, match="step 5") as caught:
        run(tmp_path, breaking, net, checkpoint_seconds=0)
    assert "checkpoint is kept" in caught.value.hint
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 4
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


def test_a_folder_of_another_training_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r"seed 5 -> 6"):
        run(tmp_path, seed=6)
    with pytest.raises(InputError, match="another network"):
        run(tmp_path, net=torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3)))
    (tmp_path / NAME).write_bytes(b"half a file")
    with pytest.raises(InputError, match="can be read"):
        run(tmp_path)


def test_how_a_training_is_carried_out_may_change(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, interrupting(5, crash), checkpoint_seconds=0)
    done, _ = run(tmp_path, log_every=1, prefetch=5, workers=2, threads=1, checkpoint_seconds=9)
    assert done.steps == 12


def test_the_loss_falls_and_autocast_keeps_weights_in_float32(tmp_path):
    done, said = run(tmp_path, steps=60, precision="bfloat16", log_every=10)
    rows = read_curves(tmp_path / "curves.csv")
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["mse"], rel=0.01)
    assert {p.dtype for p in done.network.parameters()} == {torch.float32}
    assert "steps/s" in said[-1]
    assert "left" in said[-1]


def test_frozen_weights_stay(tmp_path):
    net = network()
    net[0].requires_grad_(requires_grad=False)
    before = net[0].weight.clone(), net[2].weight.clone()
    run(tmp_path, net=net)
    assert torch.equal(net[0].weight, before[0])
    assert not torch.equal(net[2].weight, before[1])


def test_learning_rate_warms_up_and_falls_to_nothing():
    plan = settings(steps=100, warmup_steps=10)
    rates = [learning_rate(step, plan) for step in range(101)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == rates[10] == pytest.approx(0.01)
    assert bool(np.all(np.diff(rates[10:]) < 0))
    assert rates[55] == pytest.approx(0.005)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_mean_weights_follow_the_weights_with_the_stated_decay():
    plan = settings(steps=50, ema_decay=0.8)
    stepper = Stepper(network(), loss, plan)
    expected = None
    for step in range(6):
        stepper.step(batches(step, batch_rng(0, 0, step)))
        now = stepper.network[0].weight.detach().double()
        keep = ema_decay(step, plan)
        expected = now if expected is None else keep * expected + (1 - keep) * now
    assert ema_decay(1, plan) == pytest.approx(2 / 11)
    assert ema_decay(1000, plan) == 0.8
    got = stepper.mean.module[0].weight.detach().double()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)


def test_the_gradient_is_clipped():
    def steep(net, batch):
        return 1e4 * net(batch["x"]).sum(), {}

    stepper = Stepper(network(), steep, settings(clip_norm=0.5))
    figures = stepper.step(batches(0, batch_rng(0, 0, 0)))
    after = torch.stack([p.grad.norm() for p in stepper.trained]).norm()
    assert figures["gradient"] > 1e4
    assert float(after) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(("ahead", "workers"), [(0, 1), (2, 1), (4, 3)])
def test_batches_do_not_depend_on_how_they_are_made(ahead, workers):
    made = batches_ahead(batches, range(3, 9), seed=1, rank=2, ahead=ahead, workers=workers)
    for step, batch in zip(range(3, 9), made, strict=True):
        assert torch.equal(batch["x"], batches(step, np.random.default_rng([1, 2, step]))["x"])


def test_an_error_in_a_batch_reaches_the_caller(tmp_path):
    def broken(step, rng):
        return batches(step, rng) if step < 4 else crash()

    with pytest.raises(RuntimeError, match="power cut"):
        train(network(), broken, loss, settings(), tmp_path, report=lambda _line: None)


def test_curves_take_new_columns_and_are_cut_back(tmp_path):
    curves = Curves(tmp_path / "c.csv")
    curves.add({"step": 1, "loss": 0.1 + 0.2})
    curves.add({"step": 2, "loss": 2.0, "rmse": 7.0})
    curves.add({"step": 3, "loss": 3.0})
    assert (tmp_path / "c.csv").read_text().splitlines()[0] == "step,loss,rmse"
    kept = Curves(tmp_path / "c.csv", step=2).rows
    assert kept == [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": 2.0, "rmse": 7.0}]
    assert read_curves(tmp_path / "c.csv") == kept


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"learning_rate": float("nan")}, {"ema_decay": 1.0}, {"precision": "half"},
     {"clip_norm": 0}, {"workers": 0}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        settings(**change)


_TWO = """
import os, sys, torch
from pathlib import Path
from ctrestorelib.training.loop import train, TrainingSettings
rank = int(os.environ["RANK"])
def batches(step, rng):
    return {"x": torch.from_numpy(rng.normal(size=(2, 3))).float()}
def loss(net, batch):
    return net(batch["x"]).square().mean() + net(batch["x"]).mean(), {}
torch.manual_seed(rank)  # the first process decides how the weights begin
settings = TrainingSettings(steps=5, warmup_steps=0, learning_rate=0.05, log_every=5, threads=1)
run = train(torch.nn.Linear(3, 2), batches, loss, settings, Path(sys.argv[1]))
"""


def test_two_processes_train_on_the_mean_of_both_gradients(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What torchrun sets, without its own process, which would import torch a third time.
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _TWO, str(tmp_path / "two")],
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    told = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert [text.count("step 5/5") for text in told] == [1, 0]

    def both(step, _rng):
        return {"x": torch.cat([torch.from_numpy(batch_rng(0, rank, step).normal(size=(2, 3)))
                                for rank in (0, 1)]).float()}  # fmt: skip

    def the_loss(net, batch):
        return net(batch["x"]).square().mean() + net(batch["x"]).mean(), {}

    torch.manual_seed(0)
    plan = TrainingSettings(steps=5, warmup_steps=0, learning_rate=0.05, log_every=5)
    alone = train(torch.nn.Linear(3, 2), both, the_loss, plan, tmp_path / "one",
                  report=lambda _line: None)  # fmt: skip
    from safetensors.torch import load_file

    for name, value in load_file(tmp_path / "two" / "final.safetensors").items():
        torch.testing.assert_close(value, alone.network.state_dict()[name], rtol=1e-5, atol=1e-6)
