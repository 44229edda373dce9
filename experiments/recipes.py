"""Recipes: each returns a complete training configuration, of which flags change single values."""

from dataclasses import replace

from landmark_ml.config import TrainConfig


def transfer() -> TrainConfig:
    """A head on the features of a frozen ImageNet backbone: good in a minute."""
    return TrainConfig(recipe="transfer")


def ensemble() -> TrainConfig:
    """One head on the features of three frozen ImageNet backbones side by side."""
    return TrainConfig(
        recipe="ensemble",
        backbone="tf_efficientnet_lite0+tf_efficientnet_lite1+tf_efficientnet_lite2",
        resolution=384,
    )


def finetune() -> TrainConfig:
    """The last stages of an ImageNet network on augmented pixels, starting from a trained head."""
    return TrainConfig(
        recipe="finetune",
        # Deviations over small crops are not those over the whole photos that are served.
        pooling="average",
        resolution=256,
        train_resolution=192,
        start_resolution=128,
        mirror=True,
        drop_rate=0.3,
        label_smoothing=0.1,
        finetune_epochs=8,
        unfreeze=3,
        layer_decay=0.9,
        ema_decay=0.995,
        val_fraction=0.08,
    )


def distill() -> TrainConfig:
    """The last stages of one network learn what three frozen ones answer."""
    return replace(
        finetune(),
        recipe="distill",
        teacher=ensemble().backbone,
        teacher_resolution=ensemble().resolution,
        resolution=352,
        train_resolution=256,
        start_resolution=160,
        mirror=False,
        # The teacher's answers are smooth.
        label_smoothing=0.0,
        finetune_epochs=11,
        finetune_share=0.5,
    )


def scratch() -> TrainConfig:
    """Our own CNN from random weights: no pretrained anything."""
    return TrainConfig(
        recipe="scratch",
        backbone="landmark_cnn",
        weights="random",
        feature_stages=0,
        pooling="average",
        resolution=160,
        train_resolution=128,
        start_resolution=64,
        mirror=True,
        drop_rate=0.1,
        label_smoothing=0.1,
        epochs=0,
        finetune_epochs=62,
        finetune_batch_size=64,
        finetune_learning_rate=4e-3,
        finetune_weight_decay=1.2,
        optimizer="muon",
        layer_decay=1.0,
        min_crop=0.2,
        erasing=0.2,
        mixup=0.2,
        cutmix=1.0,
        mix_probability=0.65,
        ema_decay=0.995,
        warmup_epochs=2.0,
        val_interval=4,
        val_fraction=0.08,
    )


RECIPES = {recipe.__name__: recipe for recipe in (transfer, ensemble, finetune, distill, scratch)}
