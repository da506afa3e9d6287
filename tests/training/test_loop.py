"""Training stops, goes on and ends the same, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avctl.compute.seed import seeded
from avctl.compute.threads import Threads
from avctl.job import Interrupted, Job, StageError
from avctl.schema import Optim, Recipe, TrainAutoencoder
from avctl.training.ema import EMA
from avctl.training.loop import differentiate, fit

STEPS = 11


class Line:
    """y = a x: the smallest objective. Batches of the steps in `bad` hold no numbers."""

    def __init__(self, bad: range = range(0)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Linear(4, 1)
        self.bad, self.device = bad, torch.device("cpu")
        self.asked: list[int] = []

    def load(self, step: int) -> Tensor:
        self.asked.append(step)
        x = torch.randn(8, 4, generator=seeded("line", step))
        return x * float("nan") if step in self.bad else x

    def finish(self, loaded: Tensor) -> Tensor:
        return loaded

    def num_items(self, batch: Tensor) -> int:
        return len(batch)

    def split(self, batch: Tensor, count: int) -> list[tuple[Tensor, float]]:
        return [(part, len(part) / len(batch)) for part in batch.tensor_split(count)]

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = self.model(batch)[:, 0] - batch.sum(1)
        return error.square().mean(), {"largest": error.detach().abs().max()}


@pytest.fixture
def line(tiny: Recipe, job: Callable[..., Job]) -> Callable[..., Job]:
    """A job in the folder `out`, with a row every `log_every` steps."""

    def make(out: str = "out", log_every: int = 1) -> Job:
        return job(tiny.model_copy(update={"runtime": tiny.runtime.model_copy(update={"log_every": log_every})}), out)

    return make


def spec(**fields: Any) -> TrainAutoencoder:
    return TrainAutoencoder(**{"steps": STEPS, "batch": 8, "optim": Optim(lr=0.1), "save_every": 3, **fields})


def rows(*jobs: Job) -> dict[int, dict[str, Any]]:
    """Rows of the log by step, the later one where a step was done twice; without what tells the time."""
    found = [row for job in jobs for row in job.report.rows]  # pyright: ignore[reportAttributeAccessIssue]
    return {row["step"]: {name: value for name, value in row.items() if name != "items_per_s"} for row in found}


def stopping(job: Job, at: int) -> Callable[[int], None]:
    """Asks the job to stop after a step."""
    return lambda step: job.stop.set() if step == at else None


def weights(objective: Line, ema: EMA[nn.Linear]) -> list[Tensor]:
    return [*objective.model.state_dict().values(), *ema.model.state_dict().values()]


def undisturbed(line: Callable[..., Job], log_every: int = 1) -> tuple[list[Tensor], dict[int, dict[str, Any]]]:
    objective, job = Line(), line(f"undisturbed-{log_every}", log_every)
    ema = EMA(objective.model, 0.9)
    fit(objective, spec(), job, ema)
    return weights(objective, ema), rows(job)


def test_the_loss_falls_and_every_step_is_told(line: Callable[..., Job]) -> None:
    _, told = undisturbed(line)
    assert list(told) == list(range(1, STEPS + 1))
    assert told[STEPS]["loss"] < 0.5 * told[1]["loss"]
    assert set(told[1]) == {"step", "loss", "grad_norm", "largest"}


def test_rows_are_means_of_the_steps_between_them(line: Callable[..., Job]) -> None:
    each, fours = undisturbed(line)[1], undisturbed(line, 4)[1]
    assert list(fours) == [4, 8, 11]
    assert fours[8]["loss"] == pytest.approx(sum(each[i]["loss"] for i in range(5, 9)) / 4, abs=1e-5)
    assert fours[11]["loss"] == pytest.approx(sum(each[i]["loss"] for i in range(9, 12)) / 3, abs=1e-5)


@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize("stops", [(1,), (3, 4), (6, 7, 10)])
def test_a_stopped_run_saves_and_goes_on_to_the_same_end(
    line: Callable[..., Job], stops: tuple[int, ...], log_every: int
) -> None:
    jobs = [replace(line("out", log_every), stop=Event()) for _ in range(len(stops) + 1)]
    for job, stop in zip(jobs, stops, strict=False):
        objective = Line()
        with pytest.raises(Interrupted):
            fit(objective, spec(), job, EMA(objective.model, 0.9), stopping(job, stop))
    objective = Line()
    ema = EMA(objective.model, 0.9)
    fit(objective, spec(), jobs[-1], ema)
    assert objective.asked[0] == stops[-1]
    expected, told = undisturbed(line, log_every)
    assert all(torch.equal(a, b) for a, b in zip(weights(objective, ema), expected, strict=True))
    assert rows(*jobs) == told


def test_a_crash_costs_the_steps_since_the_last_save_only(line: Callable[..., Job]) -> None:
    def crash(step: int) -> None:
        if step == 8:
            raise KeyboardInterrupt

    first, second = Line(), Line()
    jobs = line(), line()
    with pytest.raises(KeyboardInterrupt):
        fit(first, spec(), jobs[0], EMA(first.model, 0.9), crash)
    ema = EMA(second.model, 0.9)
    fit(second, spec(), jobs[1], ema)
    assert second.asked == list(range(6, STEPS))
    expected, told = undisturbed(line)
    assert all(torch.equal(a, b) for a, b in zip(weights(second, ema), expected, strict=True))
    assert rows(*jobs) == told


def test_a_run_that_was_asked_to_stop_does_no_step(line: Callable[..., Job]) -> None:
    job = line()
    job.stop.set()
    with pytest.raises(Interrupted):
        fit(Line(), spec(), job)
    assert rows(job) == {}


def test_what_a_step_writes_is_there_before_its_checkpoint(line: Callable[..., Job]) -> None:
    """A run killed between the two does the step again; the other way round it would never write it."""
    job = line()
    seen: dict[int, bool] = {}
    checkpoints = job.out / "work" / "checkpoints"
    fit(Line(), spec(), job, on_step=lambda step: seen.update({step: (checkpoints / f"step-{step:08d}").exists()}))
    assert not any(seen.values()) and (checkpoints / "step-00000009").exists()


def test_a_step_without_finite_gradient_is_skipped_and_told(line: Callable[..., Job]) -> None:
    objective, job = Line(bad=range(4, 6)), line(log_every=4)
    fit(objective, spec(), job)
    assert all(weight.isfinite().all() for weight in objective.model.parameters())
    told = rows(job)
    assert told[8]["skipped"] == 2 and "skipped" not in told[4] and "skipped" not in told[11]
    assert told[8]["loss"] == told[8]["loss"]  # the mean of the two good steps, not NaN
    said = job.report.said  # pyright: ignore[reportAttributeAccessIssue]
    assert [text.split(":")[0] for text in said] == ["step 4", "step 5"]


def test_a_skipped_step_changes_no_weight(line: Callable[..., Job]) -> None:
    objective = Line(bad=range(3))
    before = [p.detach().clone() for p in objective.model.parameters()]
    fit(objective, spec(steps=3), line())
    assert all(torch.equal(a, b) for a, b in zip(before, objective.model.parameters(), strict=True))


def test_too_many_skipped_steps_in_a_row_end_the_run(line: Callable[..., Job]) -> None:
    with pytest.raises(StageError, match="3 steps in a row had no finite gradient"):
        fit(Line(bad=range(2, STEPS)), spec(max_skipped=2), line())
    fit(Line(bad=range(2, STEPS, 2)), spec(max_skipped=1), line("alternating"))  # never two in a row


def test_a_failing_batch_ends_the_run_with_its_own_error(line: Callable[..., Job]) -> None:
    class Broken(Line):
        def load(self, step: int) -> Tensor:
            if step == 3:
                raise OSError("the store is gone")
            return super().load(step)

    with pytest.raises(OSError, match="the store is gone"):
        fit(Broken(), spec(), line())


def test_gradients_lie_in_memory_as_their_weights_do(line: Callable[..., Job]) -> None:
    class Picture(Line):
        """A convolution of channels-last pictures: its gradient comes channels-last, its weight is not."""

        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.model = nn.Conv2d(4, 6, 3)

        def load(self, step: int) -> Tensor:
            return torch.randn(8, 4, 5, 5, generator=seeded("picture", step))

        def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self.model(batch.contiguous(memory_format=torch.channels_last)).square().mean(), {}

    trained, expected = Picture(), Picture()
    fit(trained, spec(steps=1, optim=Optim(lr=0.1)), line())
    loss, _ = expected.loss(expected.load(0))
    loss.backward()
    nn.utils.clip_grad_norm_(expected.model.parameters(), Optim().clip_norm)
    torch.optim.AdamW(expected.model.parameters(), lr=0.1, betas=Optim().betas, weight_decay=0.0).step()
    for a, b in zip(trained.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_have_memory_of_their_own(count: int) -> None:
    class Sum(Line):
        """Autograd gives one tensor to two parameters, pieces of it to two more, and one of another to a fifth."""

        def __init__(self) -> None:
            super().__init__()
            shapes = (4,), (4,), (2,), (2,), (3, 4)
            self.model = nn.ParameterList(map(torch.ones, shapes))

        def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            a, b, c, d, e = self.model
            return (batch.sum(0) * (a + b + torch.cat([c, d])) + torch.cat([batch, e]).square().sum(0)).sum(), {}

    objective = Sum()
    batch = objective.load(0)
    expected = torch.stack([share * part.sum(0) for part, share in objective.split(batch, count)]).sum(0)
    with Threads(count) as threads:
        differentiate(objective, batch, threads)
    a, b, c, d, e = (parameter.grad for parameter in objective.model if parameter.grad is not None)
    for gradient in (a, b, torch.cat([c, d])):
        assert torch.allclose(gradient, expected)
    assert torch.allclose(e, torch.full((3, 4), 2.0))
    memory = [gradient.untyped_storage() for gradient in (a, b, c, d, e)]
    assert [each.nbytes() for each in memory] == [16, 16, 8, 8, 48]
    assert len({each.data_ptr() for each in memory}) == 5
