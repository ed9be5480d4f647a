"""The command `cotam doctor`."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any

import click

from codec import __version__
from codec.cli import click_parts, options
from codec.cli.click_parts import option
from codec.cli.health import features as features_of
from codec.cli.health import machine
from codec.cli.health.features import installed

LABEL = 14


@click_parts.command("doctor", example="cotam doctor --json")
@option("--fast", is_flag=True, help="Skip the encoding test and the timings.")
@options.json_output
def doctor(fast: bool, json_output: bool) -> None:
    """Print what is installed, what is missing for which feature, and how fast it is.

    The exit status is 1 if encoding and decoding do not work, else 0.
    """
    report = examine(fast)
    click.echo(json.dumps(report, indent=1) if json_output else "\n".join(_lines(report)))
    if not report["core"].get("works", True):
        raise click.exceptions.Exit(1)


def examine(fast: bool) -> dict[str, Any]:
    """Collect everything that is printed; `fast` leaves out encoding and decoding."""
    report: dict[str, Any] = {
        "cotam": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": machine.processor(),
        "bfloat16": machine.bfloat16(),
        "gpus": machine.gpus(),
        "backends": {name: installed(name) for name in ("onnxruntime", "openvino", "torch")},
    }
    try:
        # Imported here, so that a broken numpy or Pillow is reported.
        from codec.cli.health import core
    except ImportError as error:
        report["core"] = {"works": False, "problem": str(error), "milliseconds": {}}
    else:
        report |= {
            "weights": core.weights(),
            "guides": core.guides(),
            "adapters": core.adapters(),
            "formats": core.picture_formats(),
            "core": {} if fast else core.check(),
        }
    report["features"] = [
        {
            "extra": feature.extra,
            "adds": feature.adds,
            "missing": feature.missing,
            "command": feature.command,
        }
        for feature in features_of.features()
    ]
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    """The report as lines, a label before each."""
    backends = [f"{name} {found or 'missing'}" for name, found in report["backends"].items()]
    shipped = [f"{one['name']} ({one['fingerprint']})" for one in report.get("weights", ())]
    entries = {
        "cotam": f"{report['cotam']}, Python {report['python']} ({sys.executable})",
        "system": report["system"],
        "processor": report["processor"],
        "bfloat16": {True: "yes", False: "no", None: "unknown"}[report["bfloat16"]],
        "GPU": _gpu(report),
        "backends": ", ".join(backends),
        "weights": ", ".join(shipped),
        "guides": ", ".join([*report.get("guides", ()), *_clip(report)]),
        "adapters": ", ".join(report.get("adapters", ())),
        "reads": " ".join(report.get("formats", {}).get("read", ())),
        "writes": " ".join(report.get("formats", {}).get("written", ())),
    }
    lines = [f"{label:{LABEL}} {text or 'none'}" for label, text in entries.items()]
    return [*lines, *_core_lines(report["core"]), *_feature_lines(report["features"])]


def _gpu(report: dict[str, Any]) -> str:
    names = ", ".join(report["gpus"])
    if names and not report["backends"]["torch"]:
        return f"{names}; unused without PyTorch"
    return names


def _clip(report: dict[str, Any]) -> list[str]:
    lacks = {one["extra"]: one["missing"] for one in report["features"]}
    return ["clip"] if "clip" in lacks and not lacks["clip"] else []


def _core_lines(core: dict[str, Any]) -> list[str]:
    if not core:
        return []
    if not core["works"]:
        return [f"{'core':{LABEL}} broken: {core['problem']}"]
    times = ", ".join(f"{name} {ms:.0f} ms" for name, ms in core["milliseconds"].items())
    return [
        f"{'core':{LABEL}} works: files decode to what was encoded",
        f"{'768x512':{LABEL}} {times} ({core['backend']})",
    ]


def _feature_lines(features: list[dict[str, Any]]) -> list[str]:
    lines = []
    for feature in features:
        if not feature["missing"]:
            lines.append(f"{feature['extra']:{LABEL}} yes: {feature['adds']}")
            continue
        lines.append(f"{feature['extra']:{LABEL}} missing: {feature['adds']}")
        lacks = ", ".join(feature["missing"])
        lines.append(f"{'':{LABEL}} {feature['command']}  (lacks {lacks})")
    return lines
