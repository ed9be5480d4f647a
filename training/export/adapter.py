"""Exports the training run of an adapter: averaged weights, bound to one tower and one codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from codec.networks.adapter import TokenAdapter
from codec.tokens.adapters import save_adapter
from codec.towers import LAST, Tower, load_tower
from training.device import weights_below
from training.export.card import optimizer_name
from training.run import read_run
from training.stages.adapter import SHAPE, Earlier, adapter_config, codec_of

CARD = """# {name}

{what}

| | |
|---|---|
| tower | {tower} (`{signature}`) |
| codec | {codec_name} `{codec}` |
{shapes}
| written | {date} |

## How it was trained
The codec and the tower were frozen.
Nothing below `eval/` was used.

{trained}

## Limits
{limits}
"""
SHAPE_ROW = "| repairs {where} | {parameters:.3f} M parameters (float16): {config} |"
TRAINED = """**{where}**: {steps} steps in {minutes} minutes on {device}. {start}
- Data: batches of {batch} crops of {size}x{size} pixels from `train/` of COTAM_DATA, \
folders weighted {weights}{replayed}.
- Loss: {loss}{tilted}.
- Optimizer: {optimizer}, learning rate {rate}, cosine to 1 %.
- The file holds the average of the weights over about {average:.0f} steps."""


def _where(layer: int) -> str:
    """How the card names the tokens of a layer."""
    names = {0: "the embedding", LAST: "the tokens after the final norm"}
    return names.get(layer, f"the tokens after block {layer}")


def _loss(stage: Any) -> str:
    """How the card describes the loss of a stage."""
    if "low_only" in stage:
        return (
            f"0.1 L_low + 1.0 L_high of arXiv 2509.24258 (variant {stage.loss}), only L_low in the "
            f"first {stage.low_only:.0%}"
        )
    return _over_variance(", ".join(f"{k} {v}" for k, v in stage.levels.items() if v))


def _over_variance(levels: str) -> str:
    return f"the squared error of the tower's tokens divided by their variance, levels {levels}"


def _start(before: Sequence[Path]) -> str:
    """How the card describes the earlier runs, latest first."""
    spent = [read_run(run)[2] for run in before]
    return "".join(
        f"It continued a run of {facts['steps']} steps in {facts['minutes']} minutes. "
        for facts in spent
    )


def _how(stage: Any, before: Sequence[Path]) -> dict[str, str]:
    """Replays, weighting and earlier runs, as phrases of the card."""
    replays = stage.get("replays", 0)
    tilt = stage.get("tilt", 0.0)
    weighting = f", each picture weighted by exp({tilt} t), t = -1.8..1.8 over the QPs"
    return {
        "replayed": f"; each batch is followed by {replays} earlier ones" if replays else "",
        "tilted": weighting if tilt else "",
        "start": _start(before),
    }


@dataclass(frozen=True)
class Trained:
    """The result of an adapter's or a bridge's run: settings, checkpoint, facts, tower, network."""

    settings: Any
    state: dict[str, Any]
    facts: dict[str, Any]
    tower: Tower
    network: TokenAdapter


def read_trained(run: Path) -> Trained:
    """Read the folder of a run. The network has the averaged weights."""
    settings, state, facts = read_run(run)
    stage = settings.stage
    tower = load_tower(stage.tower, stage.tower_weights)
    shape = {name: stage[name] for name in SHAPE if name in stage}
    network = TokenAdapter(adapter_config(settings.model.m, tower, shape))
    network.load_state_dict(weights_below(state["state_dict"], "adapter."))
    return Trained(settings, state, facts, tower, network)


def export_adapter(
    run: Path, target: Path, what: str, limits: str, before: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write an adapter, including the repairs of earlier layers, and its card.

    Args:
        run: The folder of the run.
        target: The file. The card has the same name with the suffix .md.
        what: The card's first sentence.
        limits: The card's last section.
        before: The runs that this one continued, latest first.

    Returns:
        The metadata of the file.

    Raises:
        UnknownModel: The codec's weights are not among those that ship.
    """
    trained_run = read_trained(run)
    settings, state, tower = trained_run.settings, trained_run.state, trained_run.tower
    stage = settings.stage
    training = trained_run.facts | {
        "loss": _loss(stage),
        "rate": stage.learning_rate,
        # The number of steps that an exponential average with this decay covers.
        "average": 1 / (1 - settings.ema),
        "optimizer": optimizer_name(settings),
    }
    layer = stage.get("layer", 0)
    earlier = Earlier.of_state(state.get("earlier", {}))
    networks = earlier.networks | {layer: trained_run.network}
    trained = earlier.training | {layer: training | _how(stage, before)}
    metadata = {
        "name": target.stem,
        "codec": state["codec"],
        # Raises if the codec is no longer shipped: the adapter would be useless.
        "codec_name": codec_of(state["codec"]),
        "tower": stage.tower,
    }
    metadata |= {
        "signature": tower.signature,
        "date": date.today().isoformat(),
        "training": trained.get(0),
    }
    metadata["later_training"] = {str(k): how for k, how in trained.items() if k}
    metadata = save_adapter(target, networks, metadata)
    target.with_suffix(".md").write_text(_card(metadata, networks, trained, what, limits))
    return metadata


def _card(
    metadata: dict[str, Any],
    networks: dict[int, TokenAdapter],
    trained: dict[int, dict[str, Any]],
    what: str,
    limits: str,
) -> str:
    """The model card."""
    shapes = []
    for layer, network in networks.items():
        parameters = sum(p.numel() for p in network.parameters()) / 1e6
        config = ", ".join(f"{k} {v}" for k, v in asdict(network.config).items())
        shapes.append(SHAPE_ROW.format(where=_where(layer), parameters=parameters, config=config))
    how = [
        # Adapters of older exports store only the levels of the loss.
        TRAINED.format(
            where=_where(layer).capitalize(),
            **{"loss": _over_variance(facts.get("levels", ""))} | facts,
        ).replace(" \n", "\n")
        for layer, facts in trained.items()
    ]
    return CARD.format(
        **metadata, shapes="\n".join(shapes), trained="\n\n".join(how), what=what, limits=limits
    )
