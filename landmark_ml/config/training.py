"""What decides a training run: which photos, and how the network learns from them."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.addresses import refuse_password
from landmark_ml.config.model_names import check_model_name
from landmark_ml.config.options import (
    BELOW_ONE,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    SHARE,
    UNIT,
    Configuration,
    Range,
    option,
)

# What numpy's generators take.
SEEDS = Range("from 0 to below 2**32", 0, 2**32, with_high=False)
UDACITY50_URL = "https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip"


@dataclass(frozen=True, kw_only=True)
class DataConfig(Configuration):
    """Which photos, and how they are split."""

    data: str = option("postcards", "`postcards`, `udacity50` or a folder of class folders")
    not_landmarks: str = option(
        "", "folder of photos that show no landmark; empty: `not_landmarks/` in or beside the data"
    )
    places: str = option("", "CSV of places laid over the built-in gazetteer; empty: `places.csv`")
    val_fraction: float = option(
        0.15,
        "share of training photos held out to choose by; of `not_landmarks` always 15%",
        within=SHARE,
    )
    test_fraction: float = option(
        0.15,
        "share held out to report, when the data has no `test/`; of `not_landmarks` always half",
        within=SHARE,
    )
    max_unreadable: float = option(
        0.05, "share of unreadable photos that fails the run", within=UNIT
    )
    cache_dir: str = option(
        ".cache", "folder of drawn and downloaded data, cached features and pixels"
    )
    threads: int = option(0, "CPU threads; 0: all cores", within=NOT_NEGATIVE)
    udacity50_url: str = option(UDACITY50_URL, "where `data=udacity50` is downloaded from")
    seed: int = option(
        0, "seed of the split, the initial weights and the augmentation", within=SEEDS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_password(
            "udacity50_url", self.udacity50_url, "fetch and unpack the archive by hand for `data`"
        )
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave no"
                " photos to train on: give two that sum to less than 1"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """Everything that decides a training run: the recipes differ by these values alone."""

    recipe: str = option("transfer", "name of the recipe, shown and searched in MLflow")
    backbone: str = option(
        "tf_efficientnet_lite0", "timm model name, `landmark_cnn`, or several joined by `+`"
    )
    weights: str = option(
        "pretrained", "`pretrained`, `random`, or a local .pth/.safetensors file of the backbone"
    )
    resolution: int = option(
        0, "side of the square the network sees; 0: the backbone's", unit="px", within=NOT_NEGATIVE
    )
    framing: str = option(
        "squash", "whole photo squashed to the square, or its centre", choices=("squash", "crop")
    )
    mirror: bool = option(
        False, "serve the mean of what the network sees in a photo and in its mirror image"
    )
    feature_stages: int = option(
        3,
        "earlier stages whose maps the classifier sees too, counted from the output",
        unit="stages",
        within=NOT_NEGATIVE,
    )
    pooling: str = option(
        "statistics",
        "what the classifier sees of each map: its mean, or `statistics`: also how much it varies",
        choices=("average", "statistics"),
    )
    members: int = option(
        1,
        "networks of this kind from random weights, each with its own loss, served as their mean",
        unit="networks",
        within=POSITIVE,
    )
    drop_rate: float = option(0.0, "dropout before the classifier", within=BELOW_ONE)

    epochs: int = option(
        30, "epochs of the head on cached features; 0: skip this phase", within=NOT_NEGATIVE
    )
    refit: bool = option(
        True, "train a frozen backbone's head again on train and validation photos once calibrated"
    )
    views: int = option(
        1, "augmented views of each photo whose features are cached", within=POSITIVE
    )
    batch_size: int = option(
        256, "photos per step of the head phase; one less where that is odd", within=POSITIVE
    )
    learning_rate: float = option(2e-3, "peak learning rate of the head phase", within=POSITIVE)
    weight_decay: float = option(
        5.0, "decoupled weight decay (AdamW) of the head phase", within=NOT_NEGATIVE
    )
    label_smoothing: float = option(0.2, "share of the target spread over all classes", within=UNIT)

    finetune_epochs: int = option(
        0,
        "epochs on pixels, of the network as far as `unfreeze` says; 0: all stays frozen",
        within=NOT_NEGATIVE,
    )
    unfreeze: int = option(
        0,
        "stages that fine-tuning changes, counted from the output; 0: all",
        unit="stages",
        within=NOT_NEGATIVE,
    )
    finetune_batch_size: int = option(
        32,
        "photos per step of the fine-tuning phase, in all processes together; one less where odd",
        within=POSITIVE,
    )
    finetune_learning_rate: float = option(
        5e-4, "peak learning rate of the fine-tuning phase", within=NOT_NEGATIVE
    )
    finetune_weight_decay: float = option(
        0.05, "decoupled weight decay of the fine-tuning phase", within=NOT_NEGATIVE
    )
    layer_decay: float = option(
        0.8, "factor on the learning rate per group towards the input", within=UNIT
    )
    optimizer: str = option(
        "adamw", "optimiser of the fine-tuning phase", choices=("adamw", "muon")
    )
    train_resolution: int = option(
        0, "side of the training crops; 0: `resolution`", unit="px", within=NOT_NEGATIVE
    )
    start_resolution: int = option(
        0,
        "side of the training crops at first, growing to the full side; 0: constant",
        unit="px",
        within=NOT_NEGATIVE,
    )
    min_crop: float = option(
        0.35, "smallest share of the photo a training crop may cover", within=PART
    )
    color_jitter: float = option(
        0.3, "strength of brightness, contrast and saturation jitter", within=NOT_NEGATIVE
    )
    erasing: float = option(0.0, "probability of erasing a rectangle", within=UNIT)
    mixup: float = option(0.0, "alpha of mixup; 0: off", within=NOT_NEGATIVE)
    cutmix: float = option(0.0, "alpha of CutMix; 0: off", within=NOT_NEGATIVE)
    mix_probability: float = option(
        1.0, "share of the batches that mixup or CutMix changes", within=UNIT
    )
    ema_decay: float = option(
        0.0, "decay of the averaged weights per step; 0: off", within=BELOW_ONE
    )
    warmup_epochs: float = option(
        1.0, "epochs of linear warm-up before the cosine", unit="epochs", within=NOT_NEGATIVE
    )
    clip_grad: float = option(1.0, "largest norm of the gradient", within=POSITIVE)
    patience: int = option(
        0,
        "epochs without a better val/calibrated_loss before stopping; 0: never stop",
        within=NOT_NEGATIVE,
    )
    val_interval: int = option(
        1,
        "epochs on pixels from one validation to the next; after the last there always is one",
        within=POSITIVE,
    )

    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda", "mps"))
    processes: int = option(
        1,
        "processes of this machine that share the fine-tuning, one a GPU; torchrun's own count"
        " where it is the one that starts them",
        within=POSITIVE,
    )
    resume: str = option(
        "", "id of an interrupted run to go on with, or `auto`: the last one of these parameters"
    )
    register: str = option("landmarks", "registered model that gets the version; empty: none")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_model_name(self.register)
        if not self.epochs and not self.finetune_epochs:
            raise ValueError(
                "epochs and finetune_epochs are both 0, so nothing would be trained; raise one"
            )
        if self.finetune_batch_size == 1 and (self.mixup or self.cutmix):
            raise ValueError(
                "finetune_batch_size is 1, and mixup and cutmix mix the photos of a batch; give 2"
                " or more, or mixup 0 and cutmix 0"
            )
        if 0 < self.patience < self.val_interval:
            raise ValueError(
                f"patience is {self.patience} and val_interval {self.val_interval}: training would"
                " stop before it is validated again; give a patience of at least val_interval, or 0"
            )
        side = self.train_resolution or self.resolution
        if self.start_resolution % 32 or (side and self.start_resolution > side):
            limit = f" that is at most the side of the training crops, {side}" if side else ""
            raise ValueError(
                f"start_resolution is {self.start_resolution}; give a multiple of 32{limit}, or 0"
            )
        if self.members > 1:
            self._check_members()
        if self.weights == "random" and not self.finetune_epochs:
            raise ValueError(
                "weights 'random' with finetune_epochs 0 would train a head on noise;"
                " give finetune_epochs, or weights 'pretrained'"
            )

    def _check_members(self) -> None:
        """Refuse members that would begin alike, and phases that have one network in mind."""
        needed = {"weights": "random", "epochs": 0, "unfreeze": 0}
        wrong = [name for name, value in needed.items() if getattr(self, name) != value]
        if wrong:
            given = ", ".join(f"{name} {getattr(self, name)}" for name in wrong)
            instead = ", ".join(f"{name} {needed[name]}" for name in wrong)
            raise ValueError(
                f"members is {self.members} with {given}: members differ by their random weights,"
                f" all of which learn on pixels; give {instead}, or members 1, or join different"
                " backbones by `+`"
            )
