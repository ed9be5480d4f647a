"""A checkpoint's model card, written from its metadata."""

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
{steps} steps in {minutes} minutes on {device};
batch {batch} of {size}x{size} crops from `train/` of COTAM_DATA, folders weighted {weights};
{maps}.

Loss: {loss}.
{optimizer}, {rate} for the transforms and {factor} times that for the rest{gains},
{warmup} steps of warm-up, cosine to 1 %, gradients clipped at norm 1.
The file holds the average of the weights over about {average:.0f} steps{blend}{equalized}.
Rate of rounded instead of noisy symbols from {rounded:.0%} of the way on.
Start: {start}.{equalized_before} Nothing below `eval/` was seen.

Entropy tables fitted to {fitted} training pictures at random rates.
Symbols of scale index below {skip} are not coded.
In RDOQ, a bit counts as {rate_weight} squared steps.
Default guide: {guide}.
{slope}

## Exactness
Largest possible partial sum of an integer layer: {bound} of {limit} (2^24).

## Limits
{limits}
"""


def optimizer_name(settings: Any) -> str:
    """The class of a run's optimizer; settings: all of the run's."""
    return str(settings.get("optimizer", {}).get("_target_", "Adam")).rsplit(".", 1)[-1]


def _maps(settings: dict[str, Any]) -> str:
    maps = settings["qp_maps"]
    shares = (
        "QP drawn uniformly from 0..63, "
        f"{maps['map_share']:.0%} of the pictures with a random QP map (patchwise or gradient)"
    )
    if not maps["guide_share"]:
        return shares
    return f"{shares},\n{maps['guide_share']:.0%} with a map of the guide `{maps['guide']}`"


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
    return f"{pixels},\n+ {loss['mu']} exp({loss['mu_slope']} t) F, {weighed}. F: {distance}"


def _gains(stage: dict[str, Any]) -> str:
    factor = stage.get("gain_factor", 1.0)
    return f" ({factor} times for step sizes)" if factor != 1.0 else ""


def _start(before: dict[str, Any] | None) -> str:
    """The runs that this one started from, latest first, in words."""
    if before is None:
        return "the block transform (docs/training.md)"
    settings = before["settings"]
    stage = settings["stage"]
    loss = settings["loss"]
    return (
        f"the averaged weights after {before['steps']} steps in {before['minutes']} minutes "
        f"of {optimizer_name(settings)}\n"
        f"(learning rate {stage['learning_rate']}, weighting by exp(-{loss['balance']} t), "
        f"rounding from {stage.get('rounded_from', 1):.0%} of the way on), "
        f"which started from {_start(before.get('before'))}"
    )


def render(checkpoint: Checkpoint, what: str, limits: str) -> str:
    """Write a card.

    Args:
        checkpoint: The weights, with the facts of their training.
        what: The first sentence, by the author.
        limits: The last section, by the author.

    Returns:
        Markdown.
    """
    facts = checkpoint.metadata
    training = facts["training"]
    settings = facts["training"]["settings"]
    stage = settings["stage"]
    data = settings["data"]
    # Weights of 2026 and before call it `balance`.
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
        # An exponential average with this decay looks back over so many steps.
        average=1 / (1 - settings["ema"]),
        rounded=stage["rounded_from"],
        start=_start(training.get("before")),
        equalized_before=f" Step sizes first went {before:.0%} of the way to equilibrium."
        if before
        else "",
        fitted=training["table_pictures"],
        skip=facts["skip_below"],
        equalized=f"; step sizes went {after:.0%} of the way to equilibrium" if after else "",
        blend=f", mixed with {training['blend']:.0%} of those it started from"
        if "blend" in training
        else "",
        rate_weight=facts.get("rate_weight", RATE_WEIGHT),
        guide=facts.get("guide") or DEFAULT_GUIDE,
        slope=_slope(facts.get("slope", 0.0)),
        bound=facts["bounds"]["largest"],
        limit=facts["bounds"]["limit"],
    )
