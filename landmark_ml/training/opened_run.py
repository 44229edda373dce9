"""The MLflow run that a training writes to: a new one, or an interrupted one to go on with."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from landmark_ml.config import user_path
from landmark_ml.tracking import run as tracking
from landmark_ml.training.resume import (
    ResumeError,
    began_here,
    checkpoint_folder,
    config_digest,
    hold_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from landmark_ml.config import TrainConfig
    from landmark_ml.tracking.run import Run
    from landmark_ml.training.checkpoint import Checkpoints

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_run(
    config: TrainConfig, more_tags: Mapping[str, str]
) -> Iterator[tuple[Run, Checkpoints]]:
    """A new run or the one to go on with, and its checkpoints, held by this process alone."""
    cache = user_path(config.cache_dir)
    tags = {"recipe": config.recipe, "backbone": config.backbone}
    tags |= {"config_digest": config_digest(config), **more_tags}
    run_id = find_unfinished(config)
    with contextlib.ExitStack() as held:
        if run_id:
            # Before the run is touched: another process may be training it.
            checkpoints = held.enter_context(hold_run(cache, run_id))
        name = f"{config.recipe}-{config.backbone}"
        run = held.enter_context(tracking.start_run(config, name, tags, run_id))
        if not run_id:
            checkpoints = held.enter_context(hold_run(cache, run.run_id))
        try:
            yield run, checkpoints
        except KeyboardInterrupt:
            way_on = (
                "resume=auto goes on with it" if config.finetune_epochs else "a head begins anew"
            )
            logger.warning("run %s stops here; %s", run.run_id, way_on)
            raise
    # Not before the run counts as finished: until then they are all there is to go on from.
    checkpoints.remove()


def find_unfinished(config: TrainConfig) -> str | None:
    """Id of the run to go on with: the one named, or with `auto` the last unfinished of its kind.

    Only one that was trained in this cache_dir: elsewhere it would begin again from its first
    epoch, or beside the machine that trains it. None when `auto` finds none. Raises ValueError when
    the named run is not there, has finished, began with another configuration or elsewhere.
    """
    digest, cache = config_digest(config), user_path(config.cache_dir)
    if config.resume == "auto":
        found = tracking.unfinished_runs(digest)
        here = [run_id for run_id in found if began_here(cache, run_id)]
        if not found:
            logger.info("no unfinished run of these parameters; a new one begins")
        elif found[0] not in here:
            logger.warning(
                "%s: run %s is unfinished, and its checkpoints are not in %s",
                f"the older run {here[0]} goes on" if here else "a new run begins",
                found[0],
                checkpoint_folder(cache, found[0]).resolve(),
            )
        return here[0] if here else None
    if config.resume:
        tracking.check_unfinished(config.resume, digest)
        if not began_here(cache, config.resume):
            folder = checkpoint_folder(cache, config.resume).resolve()
            raise ResumeError(
                f"resume={config.resume}: its checkpoints are not in {folder}; go on in"
                " the folder and on the machine where it began, or start a new run without resume"
            )
    return config.resume or None
