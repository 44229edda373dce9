"""The figure of training photos shows what the configured training is given, and says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from experiments import recipes
from landmark_ml.config import DataConfig
from landmark_ml.data.opening import open_dataset
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.training.preview import draw_training_photos
from tests.figures.figure_reading import says
from tests.photo_folders import write_two_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset

SERVED = Preprocessing(48, 48, "squash", "bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(
        DataConfig(data=str(write_two_classes(tmp_path_factory.mktemp("reported") / "photos")))
    )


def drawn(dataset: Dataset, config: TrainConfig) -> Figure:
    return draw_training_photos(dataset, config, SERVED)


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_a_frozen_backbone_sees_photos_as_they_are_served(dataset: Dataset) -> None:
    figure = drawn(dataset, recipes.transfer())
    assert says(figure, "as the network sees them, not augmented: 6 of 6, 48 x 48 px")
    served = [SERVED.read(photo.path) for photo in dataset.train]
    assert all(any(np.array_equal(shown, one) for one in served) for shown in pictures(figure))


def test_its_views_are_drawn_where_there_are_several(dataset: Dataset) -> None:
    figure = drawn(dataset, replace(recipes.transfer(), views=2))
    assert says(figure, "as the network sees them, in 2 views: 12 of 12, 48 x 48 px")
    shown = pictures(figure)
    assert np.abs(shown[0].astype(int)[:, ::-1] - shown[6]).mean() < 3


def test_fine_tuning_sees_crops_of_the_side_it_trains_at(dataset: Dataset) -> None:
    config = replace(recipes.finetune(), train_resolution=32, start_resolution=0)
    assert says(drawn(dataset, config), "as the network sees them, augmented: 24 of 24, 32 x 32 px")
    same = replace(config, train_resolution=0)
    assert says(drawn(dataset, same), "as the network sees them, augmented: 24 of 24, 48 x 48 px")
