"""Which photos a training run uses, how the network learns from them, and what a search tries."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

from landmark_ml.config.fields import (
    BELOW_ONE,
    PART,
    POSITIVE,
    SEED,
    SHARE,
    UNIT,
    Configuration,
    no_password,
    number,
    option,
    registrable,
)

_photos = partial(option, group="Photos")
_network = partial(option, group="Network")
_teacher = partial(option, group="Teacher")
_head = partial(option, group="Head on cached features")
_finetune = partial(option, group="Fine-tuning on pixels")
_augment = partial(option, group="Augmentation")
_rejection = partial(option, group="Photos that are not tagged")
_run = partial(option, group="Run")

AUTO_STAGES = -1
"""Value of `feature_stages` that lets the backbone decide."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Configuration):
    """Which photos, and how they are split."""

    data: str = _photos(
        "postcards",
        "`postcards`, `udacity50`, a folder of class folders or a table, .csv or .parquet",
    )
    not_landmarks: str = _photos(
        "", "folder of photos that show no landmark; empty: `not_landmarks/` in or beside the data"
    )
    taught: str = _photos(
        "", "folders that a model was taught by, with commas between: their photos are added"
    )
    places: str = _photos(
        "", "CSV of places that override the built-in gazetteer; empty: `places.csv` in the data"
    )
    corrections: str = _photos(
        "",
        "files of corrections, with commas between: their labels count and not those of the data,"
        " and their photos are added",
    )
    min_photos: int = _photos(
        1, "landmarks with fewer photos are left out", POSITIVE, unit="photos"
    )
    max_landmarks: int = _photos(
        0, "take the landmarks with the most photos only; 0: all", unit="landmarks"
    )
    country: str = _photos(
        "", "take the landmarks of one country only: its name or two-letter code"
    )
    val_fraction: float = _photos(
        0.15, "share of training photos to validate on; of `not_landmarks` always 15%", SHARE
    )
    test_fraction: float = _photos(
        0.15, "share to test on, if there is no `test/`; of `not_landmarks` always half", SHARE
    )
    grouping: str = _photos(
        "visits",
        "what stays in one split: near-duplicates and `visits` (photos of one camera and day),"
        " near-duplicate `copies` alone, or `none`",
        ("visits", "copies", "none"),
    )
    max_unreadable: float = _photos(
        0.05, "share of unreadable photos above which the run fails", UNIT
    )
    cache_dir: str = _photos(
        ".cache", "folder of drawn and downloaded data, cached features and pixels"
    )
    threads: int = _photos(0, "CPU threads; 0: all cores")
    udacity50_url: str = _photos(
        "https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip",
        "where `data=udacity50` is downloaded from",
        no_password("fetch and unpack the archive by hand for `data`"),
    )
    seed: int = _photos(0, "seed of the split, the initial weights and the augmentation", SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave no"
                " photos to train on; give two that sum to less than 1"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """Everything that decides a training run. Recipes differ by these values alone."""

    recipe: str = _network("transfer", "recipe of the entry point", settable=False)
    backbone: str = _network(
        "tf_efficientnet_lite0", "timm model name, `landmark_cnn`, or several joined by `+`"
    )
    weights: str = _network(
        "pretrained",
        "`pretrained`, `random`, a local .pth/.safetensors file of the backbone, or what another"
        " run learned: `runs:/ID` or `models:/landmarks@champion`",
    )
    resolution: int = _network(
        0, "side of the square the network sees; 0: that of the backbone", unit="px"
    )
    framing: str = _network(
        "squash", "`squash` the whole photo to the square, or `crop` its centre", ("squash", "crop")
    )
    mirror: bool = _network(
        False, "answer with the mean over a photo and its mirror image, when served too"
    )
    feature_stages: int = _network(
        AUTO_STAGES,
        "earlier stages, from the output, whose maps the classifier sees too; -1: 3 of a"
        " convolutional backbone, none of a transformer",
        number("of 0 or more, or -1", lambda value: value >= AUTO_STAGES),
        unit="stages",
    )
    pooling: str = _network(
        "auto",
        "what the classifier sees of each map: its mean, or its deviation too; auto: `statistics`"
        " of a convolutional backbone, `average` of a transformer, and its class token",
        ("auto", "average", "statistics"),
    )
    drop_rate: float = _network(0.0, "dropout before the classifier", BELOW_ONE)
    label_smoothing: float = _network(
        0.2, "share of the target that is spread over all classes", UNIT
    )

    teacher: str = _teacher(
        "", "frozen backbones, joined by `+`, whose answers replace the labels; empty: none"
    )
    teacher_resolution: int = _teacher(
        384, "side of the square that the teacher sees", POSITIVE, unit="px"
    )

    head: str = _head(
        "auto",
        "`linear`, or `cosine`: landmarks are centres in an embedding of 256 numbers; auto: cosine"
        " from 1,000 landmarks",
        ("auto", "linear", "cosine"),
    )
    epochs: int = _head(30, "epochs of the head on cached features; 0: skip this phase")
    refit: bool = _head(
        True, "train the head of a frozen backbone again on train and validation photos together"
    )
    batch_size: int = _head(256, "photos per step; one less if odd", POSITIVE)
    learning_rate: float = _head(2e-3, "peak learning rate", POSITIVE)
    weight_decay: float = _head(5.0, "decoupled weight decay (AdamW)")

    finetune_epochs: int = _finetune(
        0, "epochs on pixels, of the stages that `unfreeze` names; 0: none"
    )
    unfreeze: int = _finetune(
        0, "stages that change, counted from the output; 0: all", unit="stages"
    )
    finetune_batch_size: int = _finetune(
        32, "photos per step, over all processes; one less if odd", POSITIVE
    )
    finetune_learning_rate: float = _finetune(5e-4, "peak learning rate")
    finetune_weight_decay: float = _finetune(0.05, "decoupled weight decay")
    layer_decay: float = _finetune(
        0.8, "factor on the learning rate per layer group from the output", UNIT
    )
    optimizer: str = _finetune("adamw", "optimiser", ("adamw", "muon"))
    ema_decay: float = _finetune(0.0, "decay per step of the averaged weights; 0: off", BELOW_ONE)
    warmup_epochs: float = _finetune(
        1.0, "linear warm-up before the cosine schedule", unit="epochs"
    )
    clip_grad: float = _finetune(1.0, "largest norm of the gradient", POSITIVE)
    finetune_share: float = _finetune(
        1.0, "where the served weights lie, from 0 (head only) to 1 (fine-tuned)", UNIT
    )
    patience: int = _finetune(
        0, "stop when val/calibrated_loss has not improved for so long; 0: never", unit="epochs"
    )
    batch_parts: int = _finetune(
        1,
        "parts in which a batch is computed and its gradients added up, for batches that do not fit"
        " into the memory of a GPU",
        POSITIVE,
    )
    recompute: bool = _finetune(
        False, "compute activations again for the gradients: less memory, a third more time"
    )
    torch_compile: bool = _finetune(
        False, "compile the network with torch.compile; pays on GPUs in trainings of many minutes"
    )
    val_interval: int = _finetune(
        1, "from one validation to the next; the last epoch always has one", POSITIVE, unit="epochs"
    )

    train_resolution: int = _augment(0, "side of the training crops; 0: `resolution`", unit="px")
    start_resolution: int = _augment(
        0, "side of the first training crops, which grow to the full side; 0: off", unit="px"
    )
    min_crop: float = _augment(
        0.35, "smallest share of the photo that a training crop covers", PART
    )
    color_jitter: float = _augment(0.3, "strength of brightness, contrast and saturation jitter")
    erasing: float = _augment(0.0, "probability of erasing a rectangle", UNIT)
    mixup: float = _augment(0.0, "alpha of mixup; 0: off")
    cutmix: float = _augment(0.0, "alpha of CutMix; 0: off")
    mix_probability: float = _augment(
        1.0, "share of the batches that mixup or CutMix changes", UNIT
    )

    max_unseen_tagged: float = _rejection(
        0.05, "share of photos of landmarks never learned that may be tagged", UNIT
    )
    max_everyday_tagged: float = _rejection(
        0.01, "share of photos of no landmark that may be tagged", UNIT
    )
    min_known_tagged: float = _rejection(
        0.88, "share of photos of known landmarks that is tagged even where those two suffer", PART
    )

    device: str = _run("auto", "where to train", ("auto", "cpu", "cuda", "mps"))
    precision: str = _run(
        "auto",
        "number format of the network, from features to answers; auto: bf16 where the processor has"
        " instructions for it; fp16: for GPUs without bf16, served in f32",
        ("auto", "f32", "bf16", "fp16"),
    )
    processes: int = _run(
        1, "processes on this machine that share the fine-tuning; torchrun's count wins", POSITIVE
    )
    resume: str = _run(
        "", "id of an interrupted run to continue, or `auto`: the last with the same parameters"
    )
    model: str = _run(
        "landmarks", "registered model that gets the version; empty: none", registrable
    )

    def __post_init__(self) -> None:
        super().__post_init__()
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
        if self.weights == "random" and not self.finetune_epochs:
            raise ValueError(
                "weights 'random' with finetune_epochs 0 would train a head on noise;"
                " give finetune_epochs, or weights 'pretrained'"
            )


LOCAL_TO_A_WORKER = (
    *("study", "storage", "trials", "minutes", "heartbeat", "model", "resume"),
    *("data", "not_landmarks", "taught", "places", "corrections"),
    *("cache_dir", "udacity50_url", "device", "threads"),
)
"""Fields in which the workers of one study may differ; the photos themselves must be the same."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """A search: what is not searched stays as in the training configuration it extends."""

    study: str = option("", "name of the study to continue or to share; empty: a new one")
    storage: str = option(
        "",
        "database that workers share; empty: `studies.db` beside the MLflow database",
        no_password("set PGPASSWORD or write ~/.pgpass wherever a worker runs"),
    )
    space: str = option(
        "head", "what is searched: the head, or fine-tuning too", ("head", "finetune")
    )
    backbones: str = option(
        "tf_efficientnet_lite0,tf_efficientnet_lite2",
        "timm models to choose from besides `backbone`, where weights are pretrained",
    )
    keep: str = option("", "parameters of the space to leave as they are, such as `framing,epochs`")
    trials: int = option(200, "trials of the study, over all workers; 0: no limit", unit="trials")
    minutes: float = option(0.0, "when this worker starts no more trials; 0: no limit", unit="min")
    objective: str = option(
        "loss", "what to optimise: the calibrated validation loss, or top-1", ("loss", "top1")
    )
    heartbeat: int = option(
        30, "retry a trial whose process is silent for twice as long", POSITIVE, unit="s"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.trials and not self.minutes:
            raise ValueError(
                "trials and minutes are both 0, so the search would never end; give one"
            )
        if self.space == "finetune" and not self.finetune_epochs:
            raise ValueError(
                "space 'finetune' with finetune_epochs 0 would fine-tune nothing; give the epochs"
                " of a trial, such as finetune_epochs=6"
            )
        if self.space == "head" and (not self.epochs or self.finetune_epochs):
            raise ValueError(
                f"space 'head' with epochs {self.epochs} and finetune_epochs"
                f" {self.finetune_epochs}: a head needs epochs, and fine-tuning space 'finetune'"
            )
        if self.processes > 1:
            raise ValueError(
                f"processes is {self.processes}, and each trial trains in one process; to share a"
                " search, start more workers with the same study and storage"
            )
        if self.resume:
            raise ValueError(
                f"resume is {self.resume!r}, and a search is not a single run; continue it with"
                " study=<its name>"
            )

    def training(self) -> TrainConfig:
        """The training configuration that the search starts from."""
        names = [item.name for item in fields(TrainConfig)]
        return TrainConfig(**{name: getattr(self, name) for name in names})
