"""Exports a run: `python -m training.export RUN_DIR checkpoints/NAME.safetensors`.

Instead of a run, RUN_DIR can be a file. For a student's file, the document detector and the rate
estimate are fitted again. For exported weights of a codec, only --rate-weight, --guide and --slope
are changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from codec.errors import UnknownModel
from codec.guidance import GUIDES, check_slope
from codec.networks.blocks import ResidualBlock
from codec.networks.config import RATE_WEIGHT, ModelConfig
from codec.networks.integer import EXACT_LIMIT
from codec.networks.model import Networks
from codec.weights import hub
from codec.weights.checkpoint import Checkpoint, load, save
from codec.weights.networks import bounds, trainable_from_checkpoint
from training.data.folder import endless
from training.device import device_name, weights_below
from training.export.adapter import export_adapter
from training.export.bridge import export_bridge
from training.export.card import render
from training.export.elic import export_elic
from training.export.encoder import export_encoder
from training.export.features import export_features
from training.export.student import export_student
from training.run import data_folder, read_run
from training.surgery.equalize_steps import equalize_steps, rescale
from training.validation import DEFAULT_SKIP, make_checkpoint


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


def options_of() -> argparse.Namespace:
    """The arguments; rate_weight, guide and slope are None if they were not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument(
        "--push", metavar="ORG/NAME", help="also upload weights and card to the Hugging Face Hub"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=data_folder() / "train",
        help="the training pictures to fit a student to",
    )
    parser.add_argument(
        "--skip-below",
        type=int,
        default=DEFAULT_SKIP,
        help="scale indexes below this are not coded",
    )
    parser.add_argument(
        "--rate-weight",
        type=float,
        help=f"squared steps that a bit is worth in RDOQ ({RATE_WEIGHT:g})",
    )
    parser.add_argument(
        "--pictures", type=int, default=60, help="training pictures to fit the tables to"
    )
    parser.add_argument(
        "--before",
        type=Path,
        nargs="*",
        default=[],
        help="runs or weights that this run started from, latest first",
    )
    parser.add_argument(
        "--blend",
        nargs=2,
        metavar=("RUN", "SHARE"),
        help="average with the run or weights that this one started from, with this share",
    )
    parser.add_argument(
        "--equalize",
        type=float,
        default=0.0,
        help="how far step sizes are equalized for the run's loss, 0..1",
    )
    parser.add_argument(
        "--guide",
        choices=GUIDES,
        help="the default guide of these weights",
    )
    parser.add_argument(
        "--slope",
        type=float,
        help="lower the QP by this much per nat of estimated cost above the median picture (0)",
    )
    parser.add_argument(
        "--what", default="Weights of the base stage: rate + MSE.", help="the card's first sentence"
    )
    parser.add_argument(
        "--limits",
        default="Trained for a short time on few pictures.",
        help="the card's last section",
    )
    return parser.parse_args()


def kind_of(run: Path) -> str:
    """The class of a run's stage; for a file, `weights` or `student`."""
    if not run.is_file():
        return str(OmegaConf.load(run / "config.yaml").stage._target_)
    # Weights and students are both .safetensors files; only their metadata differs.
    try:
        load(run)
    except UnknownModel:
        return "student"
    return "weights"


def main() -> None:
    """Command line."""
    options = options_of()
    kind = kind_of(options.run)
    if "AdapterStage" in kind:
        export_adapter(options.run, options.target, options.what, options.limits, options.before)
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    if "EncoderStage" in kind:
        checkpoint = export_encoder(options.run, options.target, options.what, options.limits)
        print(f"{options.target}: fingerprint {checkpoint.fingerprint.hex()}")
        return
    if "ElicStage" in kind:
        export_elic(options.run, options.target)
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    if "BridgeStage" in kind:
        export_bridge(options.run, options.target)
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    if "FeatureStage" in kind:
        export_features(options.run, options.target, options.what, options.limits)
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    if "student" in kind:
        export_student(
            options.run,
            options.root,
            options.target,
            options.pictures,
            options.what,
            options.limits,
        )
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    wishes = {name: getattr(options, name) for name in ("rate_weight", "guide", "slope")}
    # 0 is a valid value of --slope and --rate-weight, so only None means "not given".
    wishes = {name: value for name, value in wishes.items() if value is not None}
    if kind == "weights":
        checkpoint = reset(options.run, options.target, wishes)
    else:
        blend = (Path(options.blend[0]), float(options.blend[1])) if options.blend else None
        checkpoint = export(
            options.run,
            options.target,
            options.skip_below,
            options.pictures,
            before=options.before,
            blend=blend,
            equalized=options.equalize,
            **wishes,
        )
    card = render(checkpoint, options.what, options.limits)
    options.target.with_suffix(".md").write_text(card)
    size = options.target.stat().st_size
    print(f"{options.target}: fingerprint {checkpoint.fingerprint.hex()}, {size} bytes")
    if options.push:
        print(f"uploaded: {hub.push(options.target, card, options.push)}")


if __name__ == "__main__":
    main()
