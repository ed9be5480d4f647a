"""Exports a run of the codec: tables, proof of the bounds, checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from codec.guidance import check_slope
from codec.networks.blocks import ResidualBlock
from codec.networks.config import RATE_WEIGHT, ModelConfig
from codec.networks.integer import EXACT_LIMIT
from codec.networks.model import Networks
from codec.weights.checkpoint import Checkpoint, load, save
from codec.weights.networks import bounds, trainable_from_checkpoint
from training.device import device_name, weights_below
from training.fit.checkpoint import make_checkpoint
from training.run import read_run
from training.surgery.equalize_steps import equalize_steps, rescale


def load_run(run: Path, config: ModelConfig | None = None) -> tuple[Networks, dict[str, Any]]:
    """Load the averaged weights of a run, or exported weights.

    Args:
        run: The folder of a run, or weights (.safetensors).
        config: For exported weights, the configuration to extend them to
            (codec.weights.networks.trainable_from_checkpoint).

    Returns:
        The networks, and the facts of the run.
    """
    if run.suffix == ".safetensors":
        stored = load(run)
        return trainable_from_checkpoint(stored, config).eval(), stored.metadata["training"]
    settings, state, facts = read_run(run)
    fields = {k: v for k, v in settings.model.items() if k != "_target_"}
    networks = Networks(ModelConfig(**fields))
    networks.load_state_dict(weights_below(state["state_dict"], "networks."))
    training = {
        "steps": facts["steps"],
        "minutes": facts["minutes"],
        "settings": OmegaConf.to_container(settings, resolve=True),
    }
    return networks.eval(), training


def blended(networks: Networks, other: Networks, share: float) -> Networks:
    """Average the weights of two runs of which one started from the other.

    The other networks are first rescaled to the step sizes of the first, so that latents have the
    same units in both. A block that the other networks lack counts as the identity, with the inner
    layers of the first. Such a mean is often better than both ("Averaging Weights Leads to Wider
    Optima", arXiv 1803.05407; arXiv 2203.05482).

    Args:
        networks: Those of the first run; changed in place.
        other: Those of the run that it started from; their step sizes are changed in place.
        share: The weight of `other` in the mean, 0..1.

    Returns:
        `networks`.

    Raises:
        ValueError: `share` is outside of 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share must be between 0 and 1, not {share:g}")
    # A symbol has the same value in both only if both have the same step sizes.
    moved = networks.g_a.gain.log_gain.detach() - other.g_a.gain.log_gain.detach()
    rescale(other, moved.mean(0))
    for name, block in other.named_modules():
        # A block whose last layer is zero is the identity, but its inner layers are random and
        # would spoil the mean.
        if isinstance(block, ResidualBlock) and not block.project.weight.any():
            ours = networks.get_submodule(name).state_dict()
            block.load_state_dict(
                {k: v for k, v in ours.items() if "project" not in k}, strict=False
            )
    theirs = other.state_dict()
    mixed = {
        k: torch.lerp(v, theirs[k], share) if v.is_floating_point() else v
        for k, v in networks.state_dict().items()
    }
    networks.load_state_dict(mixed)
    return networks


def history(before: Sequence[Path]) -> dict[str, Any] | None:
    """Collect the facts of the runs that came before.

    Args:
        before: Runs, or exported weights, latest first.

    Returns:
        The facts of the latest run. Their `before` has the facts of the run before it, and so on.
    """
    if not before:
        return None
    facts = (
        load(before[0]).metadata["training"]
        if before[0].suffix == ".safetensors"
        else load_run(before[0])[1]
    )
    earlier = history(before[1:])
    return tidy(facts) | ({"before": earlier} if earlier else {})


def without_paths(value: Any) -> Any:
    """Shorten absolute paths in settings to their last part, so that weights name no folders."""
    if isinstance(value, dict):
        return {k: without_paths(v) for k, v in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def tidy(facts: dict[str, Any]) -> dict[str, Any]:
    """Remove settings of the machine, and what other groups repeat, from the facts of a run."""
    settings = {
        k: v
        for k, v in facts["settings"].items()
        if k not in ("run_dir", "data_folder", "resume", "start", "validation", "logger")
    }
    # Entries that are dictionaries repeat other groups of settings, such as model or loss.
    settings["stage"] = {k: v for k, v in settings["stage"].items() if not isinstance(v, dict)}
    return facts | {"settings": without_paths(settings)}


def export(
    run: Path,
    target: Path,
    skip_below: int,
    pictures: int,
    before: Sequence[Path] = (),
    rate_weight: float = RATE_WEIGHT,
    blend: tuple[Path, float] | None = None,
    equalized: float = 0.0,
    guide: str | None = None,
    slope: float = 0.0,
) -> Checkpoint:
    """Fit the frozen entropy tables, prove the integer bounds and write the checkpoint.

    Args:
        run: The folder of the run.
        target: The file.
        skip_below: Scale indexes below this are not coded.
        pictures: How many training pictures the tables are fitted to.
        before: The runs, or exported weights, that this one started from, latest first.
        rate_weight: The cost of a bit in RDOQ, in squared quantization steps.
        blend: Another run and its share (`blended`).
        equalized: How far step sizes are equalized for the run's loss, 0..1
            (training/surgery/equalize_steps.py).
        guide: The default guide of these weights, if not the usual one.
        slope: Lower the QP by this much per nat of estimated cost above the median training
            picture (codec.guidance.Guidance.base_qp).

    Returns:
        The checkpoint that was written.

    Raises:
        ValueError: A bound does not hold.
        BadArgument: `slope` is out of range.
    """
    check_slope(slope)
    networks, facts = load_run(run)
    if blend:
        networks = blended(networks, load_run(blend[0], networks.config)[0], blend[1])
        facts["blend"] = blend[1]
    # This changes the prior's weights, so it comes before the proof of the bounds and the tables.
    if equalized:
        import hydra

        from training.data.folder import endless  # imports Lightning

        loss, data = (
            hydra.utils.instantiate(OmegaConf.create(facts["settings"][part]))
            for part in ("loss", "data")
        )
        torch.manual_seed(facts["settings"]["seed"])  # the same crops and projections each time
        equalize_steps(networks, loss, endless(data), equalized)
        facts["equalized"] = equalized
    proved = bounds(networks)
    if max(proved.values()) >= EXACT_LIMIT:
        raise ValueError(f"a partial sum could reach 2^24: {proved}")
    settings = facts["settings"]
    exported = make_checkpoint(
        networks, target.stem, Path(settings["data"]["root"]), pictures, skip_below
    )
    training = tidy(facts) | {
        "table_pictures": pictures,
        "device": device_name(),
        "before": history(before),
    }
    metadata = exported.metadata | {
        "rate_weight": rate_weight,
        "guide": guide,
        "slope": slope,
        "bounds": {"largest": max(proved.values()), "limit": EXACT_LIMIT, "layers": proved},
        "training": training,
        "date": date.today().isoformat(),
    }
    checkpoint = Checkpoint(exported.arrays, metadata)
    save(checkpoint, target)
    return checkpoint


def reset(weights: Path, target: Path, wishes: dict[str, Any]) -> Checkpoint:
    """Change encoder settings of exported weights; nothing that a decoder needs changes.

    Args:
        weights: The file to read.
        target: The file to write.
        wishes: New values of `rate_weight`, `guide` or `slope`.

    Returns:
        The checkpoint that was written.

    Raises:
        UnknownModel: There are no weights at `weights`.
        BadArgument: The slope is out of range.
    """
    check_slope(wishes.get("slope", 0.0))
    stored = load(weights)
    checkpoint = Checkpoint(stored.arrays, stored.metadata | wishes)
    save(checkpoint, target)
    return checkpoint
