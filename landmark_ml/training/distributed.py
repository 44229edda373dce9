"""A training run in all the processes that torchrun has started: one leads, the others follow.

Plain torch.distributed: batches, precision and checkpoints are our own here, so of what Accelerate
or Fabric offer only the wrapping of the model would be left, for a second vocabulary in the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landmark_ml.networks.create import create_model, model_options
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.finetune_phase import finetune
from landmark_ml.training.processes import join_processes
from landmark_ml.training.resume import config_digest
from landmark_ml.training.run import run_training
from landmark_ml.training.seeding import seed_everything
from landmark_ml.training.shared_photos import open_photos
from landmark_ml.training.targets import num_outputs

if TYPE_CHECKING:
    from landmark_ml.config import TrainConfig
    from landmark_ml.training.processes import Processes
    from landmark_ml.training.run import TrainResult


def train_together(config: TrainConfig) -> TrainResult | None:
    """Train in every process that was started; the result in the first one, None in the others.

    The first alone trains the head, which takes seconds, logs to MLflow, saves checkpoints,
    evaluates and registers. Raises ValueError (or a subclass) as `run_training` does, and when a
    process is lost.
    """
    with join_processes(config.device) as processes:
        processes.agree(config_digest(config), "parameters")
        if processes.count > 1 and not config.finetune_epochs:
            raise ValueError(
                f"{processes.count} processes have nothing to share: finetune_epochs is 0, and a"
                " head on frozen features learns in seconds in one process; start one process, or"
                " raise finetune_epochs"
            )
        if processes.is_first:
            return run_training(config, processes=processes)
        _follow(config, processes)
        return None


def _follow(config: TrainConfig, processes: Processes) -> None:
    """What the first process does where all do it: the photos, the network, the epochs."""
    seed_everything(config.seed)
    compute = choose_compute(config.device, config.threads, processes)
    dataset = open_photos(config, processes)
    model = create_model(model_options(config, num_outputs(dataset)))
    finetune(model, dataset, config, compute, _unseen, _Following())


class _Following:
    """Saver of a process that saves nothing: the first one keeps the state of all."""

    def restore(self) -> None:
        """Nothing: the state comes from the first process."""

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Nothing: it is in the checkpoint of the first process."""


def _unseen(_: dict[str, float]) -> None:
    """The first process logs the metrics; these here are the same."""
