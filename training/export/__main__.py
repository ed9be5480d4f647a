"""Exports a run: `python -m training.export RUN_DIR checkpoints/NAME.safetensors`.

Instead of a run, RUN_DIR can be a file. For a student's file, the document detector and the rate
estimate are fitted again. For exported weights of a codec, only --rate-weight, --guide and --slope
are changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from codec.errors import UnknownModel
from codec.guidance import GUIDES
from codec.networks.config import RATE_WEIGHT
from codec.weights import hub
from codec.weights.checkpoint import Checkpoint, load
from training.export.card import render
from training.export.codec import export, reset
from training.fit.checkpoint import DEFAULT_SKIP
from training.run import data_folder


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


def export_other(kind: str, options: argparse.Namespace) -> str | None:
    """Export a run that did not train a codec.

    The modules are imported here because most of them import Lightning, which takes seconds and
    which the export of a codec does not need.

    Args:
        kind: The class of the run's stage (`kind_of`).
        options: The arguments.

    Returns:
        What was written, in a few words; None if there is no such export.
    """
    run, target, texts = options.run, options.target, (options.what, options.limits)
    if "AdapterStage" in kind:
        from training.export.adapter import export_adapter

        export_adapter(run, target, *texts, options.before)
    elif "EncoderStage" in kind:
        from training.export.encoder import export_encoder

        checkpoint = export_encoder(run, target, *texts)
        return f"fingerprint {checkpoint.fingerprint.hex()}"
    elif "ElicStage" in kind:
        from training.export.elic import export_elic

        export_elic(run, target)
    elif "BridgeStage" in kind:
        from training.export.bridge import export_bridge

        export_bridge(run, target)
    elif "FeatureStage" in kind:
        from training.export.features import export_features

        export_features(run, target, *texts)
    elif "student" in kind:
        from training.export.student import export_student

        export_student(run, options.root, target, options.pictures, *texts)
    else:
        return None
    return f"{target.stat().st_size} bytes"


def export_codec(kind: str, options: argparse.Namespace) -> Checkpoint:
    """Export a run of the codec, or change the settings of exported weights (`kind` "weights")."""
    wishes: dict[str, Any] = {
        name: getattr(options, name) for name in ("rate_weight", "guide", "slope")
    }
    # 0 is a valid value of --slope and --rate-weight, so only None means "not given".
    wishes = {name: value for name, value in wishes.items() if value is not None}
    if kind == "weights":
        return reset(options.run, options.target, wishes)
    blend = (Path(options.blend[0]), float(options.blend[1])) if options.blend else None
    return export(
        options.run,
        options.target,
        options.skip_below,
        options.pictures,
        before=options.before,
        blend=blend,
        equalized=options.equalize,
        **wishes,
    )


def main() -> None:
    """Command line."""
    options = options_of()
    target: Path = options.target
    kind = kind_of(options.run)
    if written := export_other(kind, options):
        print(f"{target}: {written}")
        return
    checkpoint = export_codec(kind, options)
    card = render(checkpoint, options.what, options.limits)
    target.with_suffix(".md").write_text(card)
    print(f"{target}: fingerprint {checkpoint.fingerprint.hex()}, {target.stat().st_size} bytes")
    if options.push:
        print(f"uploaded: {hub.push(target, card, options.push)}")


if __name__ == "__main__":
    main()
