"""Writes the model card of a checkpoint from its metadata."""

from __future__ import annotations

from typing import Any

from codec.guidance import DEFAULT_GUIDE
from codec.networks.config import RATE_WEIGHT
from codec.weights.checkpoint import Checkpoint
from training.run import data_weights

CARD = """---
library_name: cotam
pipeline_tag: image-to-image
tags: [image-compression, learned-image-compression]
---
# {name}

{what}

| | |
|---|---|
| fingerprint | `{fingerprint}` |
| parameters | {parameters:.2f} M (transforms stored as float16, prior as int8) |
| configuration | {config} |
| written | {date} |

## How it was trained
- Length: {steps} steps in {minutes} minutes on {device}.
- Data: batches of {batch} crops of {size}x{size} pixels from `train/` of COTAM_DATA, \
folders weighted {weights}. Nothing below `eval/` was used.
- QPs: {maps}.
- Loss: {loss}.
- Optimizer: {optimizer}, learning rate {rate} for the transforms and {factor} times that for \
the rest{gains}, {warmup} steps of warm-up, cosine to 1 %, gradients clipped at norm 1.
- Rate: computed with noise at first, and with rounded symbols after {rounded:.0%} of the run.
- The file holds the average of the weights over about {average:.0f} steps{blend}.{equalized}
- Start: {start}.{equalized_before}

## How it encodes
- The entropy tables were fitted to {fitted} training pictures at random rates.
- Symbols of scale index below {skip} are not coded.
- RDOQ counts a bit as {rate_weight} squared steps.
- The default guide is {guide}.
- {slope}

## Exactness
Largest possible partial sum of an integer layer: {bound} of {limit} (2^24).

## Limits
{limits}
"""


def optimizer_name(settings: Any) -> str:
    """The class name of a run's optimizer; `settings` are all settings of the run."""
    return str(settings.get("optimizer", {}).get("_target_", "Adam")).rsplit(".", 1)[-1]


def _maps(settings: dict[str, Any]) -> str:
    maps = settings.get("qp_maps") or settings["guidance"]  # its name in weights up to 2026-11
    shares = (
        "drawn uniformly from 0..63, "
        f"{maps['map_share']:.0%} of the pictures with a random QP map (patchwise or gradient)"
    )
    if not maps["guide_share"]:
        return shares
    return f"{shares}, {maps['guide_share']:.0%} with a map of the guide `{maps['guide']}`"


def _slope(slope: float) -> str:
    if not slope:
        return "A quality is the same QP for all pictures."
    return (
        f"At a quality, a picture's QP is {slope:g} lower for each nat "
        "of estimated cost above the median training picture (docs/guidance.md)."
    )


def _loss(loss: dict[str, Any]) -> str:
    distortion = (
        f"lambda(QP) * MSE, lambda = {loss['base']} exp({loss['slope']} t), "
        "t = -1.8..1.8 over the QPs"
    )
    weighed = f"weighted by exp(-{loss['balance']} t)"
    features = loss.get("features")
    if not features:
        return f"rate + {distortion}, {weighed}"
    name = features["_target_"].rsplit(".", 1)[-1]
    distance = f"training.losses.features.{name} of the tower {features['tower']}"
    if levels := features.get("levels"):
        distance += f" ({', '.join(f'{level} {w}' for level, w in levels.items())})"
    pixels = f"rate + {loss['pixel_share']} {distortion}"
    return f"{pixels}, + {loss['mu']} exp({loss['mu_slope']} t) F, {weighed}. F: {distance}"


def _gains(stage: dict[str, Any]) -> str:
    factor = stage.get("gain_factor", 1.0)
    return f" ({factor} times for step sizes)" if factor != 1.0 else ""


def _equalized(when: str, share: float) -> str:
    """The list item about equalized step sizes; empty if they were not equalized."""
    if not share:
        return ""
    return f"\n- {when} the run, step sizes were moved {share:.0%} of the way to equal costs."


def _start(before: dict[str, Any] | None) -> str:
    """The runs that this one started from, latest first, as a list."""
    if before is None:
        return "the block transform (docs/training.md)"
    runs = ["the averaged weights of earlier runs, latest first:"]
    while before is not None:
        settings = before["settings"]
        stage = settings["stage"]
        runs.append(
            f"{before['steps']} steps in {before['minutes']} minutes of "
            f"{optimizer_name(settings)}, learning rate {stage['learning_rate']}, "
            f"weighting by exp(-{settings['loss']['balance']} t), "
            f"rounding after {stage.get('rounded_from', 1):.0%}"
        )
        before = before.get("before")
    return "\n  - ".join([*runs, "from the block transform (docs/training.md)"])


def render(checkpoint: Checkpoint, what: str, limits: str) -> str:
    """Write a card.

    Args:
        checkpoint: The weights, with the facts of their training.
        what: The first sentence, which the author writes.
        limits: The last section, which the author writes.

    Returns:
        Markdown.
    """
    facts = checkpoint.metadata
    training = facts["training"]
    settings = facts["training"]["settings"]
    stage = settings["stage"]
    data = settings["data"]
    # Older weights, up to 2026, call it `balance`.
    before = stage.get("equalize", stage.get("balance", 0.0))
    after = training.get("equalized", training.get("balance", 0.0))
    parameters = (
        sum(a.size for n, a in checkpoint.arrays.items() if not n.startswith("tables.")) / 1e6
    )
    return CARD.format(
        name=checkpoint.name,
        what=what,
        limits=limits,
        fingerprint=checkpoint.fingerprint.hex(),
        parameters=parameters,
        config=", ".join(f"{k} {v}" for k, v in facts["config"].items() if k != "name"),
        date=facts["date"],
        steps=training["steps"],
        minutes=training["minutes"],
        device=training["device"],
        batch=data["batch"],
        size=data["size"],
        weights=data_weights(data),
        maps=_maps(settings),
        loss=_loss(settings["loss"]),
        optimizer=optimizer_name(settings),
        rate=stage["learning_rate"],
        factor=stage["prior_factor"],
        gains=_gains(stage),
        warmup=stage["warmup"],
        # The number of steps that an exponential average with this decay covers.
        average=1 / (1 - settings["ema"]),
        rounded=stage["rounded_from"],
        start=_start(training.get("before")),
        equalized_before=_equalized("Before", before),
        fitted=training["table_pictures"],
        skip=facts["skip_below"],
        equalized=_equalized("After", after),
        blend=f", mixed with {training['blend']:.0%} of those that it started from"
        if "blend" in training
        else "",
        rate_weight=facts.get("rate_weight", RATE_WEIGHT),
        guide=facts.get("guide") or DEFAULT_GUIDE,
        slope=_slope(facts.get("slope", 0.0)),
        bound=facts["bounds"]["largest"],
        limit=facts["bounds"]["limit"],
    )
