"""The commands that only read: info, inspect, models."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from codec import info as infos
from codec.bitstream.container import DEFAULT_LIMIT_MEMORY
from codec.cli import click_parts, jobs, options, outputs
from codec.cli.click_parts import option
from codec.cli.options import check_device, fail
from codec.cli.outputs import STREAM
from codec.cli.terminal import explained, one_line, say
from codec.errors import BadArgument, CodecError


def _listing(entry: dict[str, Any]) -> str:
    return "\n".join(
        f"{key.replace('_', ' '):12} {one_line(str(value))}"
        for key, value in entry.items()
        if value is not None
    )


@click_parts.command("info", example="cotam info photo.ctm --json")
@options.inputs
@options.limit_pixels
@options.json_output
@options.debug
def info(inputs: tuple[str, ...], limit_pixels: int, json_output: bool, debug: bool) -> None:
    """Print what the headers of .ctm files say; nothing is decoded."""
    entries = []
    files, unreadable = jobs.files_of(inputs, {jobs.ENCODED})
    for folder in unreadable:
        say(f"cotam: {one_line(f'{folder.source}: {folder.error}')}", err=True)
    failed = bool(unreadable)
    for item in files:
        try:
            entries.append(
                {"file": item}
                | asdict(infos.inspect(outputs.read(item), limit_pixels=limit_pixels))
            )
        except (CodecError, OSError) as error:
            if debug:
                raise
            failed = True
            say(f"cotam: {one_line(f'{item}: {explained(error)}')}", err=True)
    if json_output:
        click.echo(json.dumps(entries, indent=1))
    else:
        for entry in entries:
            click.echo(_listing(entry))
    if failed:
        raise click.exceptions.Exit(1)


@click_parts.command("inspect", example="cotam inspect photo.ctm --heatmap bits.png")
@click.argument("file", metavar="FILE")
@option(
    "--heatmap",
    "target",
    metavar="OUT.png",
    section=options.FILES,
    help="Decode the file and draw its QP field and the bits spent.",
)
@options.no_overwrite
@options.own_model
@options.device
@options.limit_pixels
@options.json_output
@options.debug
def inspect(
    file: str,
    target: str | None,
    no_overwrite: bool,
    model: str,
    device: str,
    limit_pixels: int,
    json_output: bool,
    debug: bool,
) -> None:
    """Print what info prints, for one file.

    With --heatmap also decode it, count the bits and draw where they went.
    """
    try:
        check_device(device)
    except BadArgument as error:
        fail(str(error), 2)
    if target == STREAM and sys.stdout.isatty():
        fail("binary data is not written to a terminal; give --heatmap FILE or redirect it", 2)
    try:
        entry = _examine(
            file,
            target,
            (options.own_weights(model, "decoder"), device, limit_pixels, DEFAULT_LIMIT_MEMORY),
            not no_overwrite,
        )
    except (CodecError, OSError, MemoryError) as error:
        if debug:
            raise
        fail(f"{file}: {explained(error)}")
    click.echo(
        json.dumps(entry, indent=1) if json_output else _listing(entry), err=target == STREAM
    )


def _examine(
    file: str, target: str | None, weights: tuple[str, str, int, int], overwrite: bool
) -> dict[str, Any]:
    """Collect what `inspect` prints, and write the heatmap.

    Args:
        file: a .ctm file, or - for stdin.
        target: where the heatmap is written; None for none.
        weights: model, device, pixel limit and memory limit, as `load_for` takes them.
        overwrite: whether an existing heatmap may be replaced.

    Returns:
        The fields of codec.FileInfo; with a heatmap also the bits per latent position.
    """
    if target is not None and not overwrite:
        outputs.refuse_existing(target)
    if target is not None and outputs.same_file(file, target):
        raise BadArgument(f"the heatmap would replace {file}; give it another name")
    data = outputs.read(file)
    limit = weights[2]
    entry = {"file": file} | asdict(infos.inspect(data, limit_pixels=limit))
    if target is None:
        return entry
    import numpy as np

    from codec.io import heatmap, images

    decoded = options.load_for(data, *weights).decode_full(data, want_bits=True)
    bits = decoded.bits
    assert bits is not None
    # In float64: float32 would lose single bits among millions.
    total = float(bits.sum(dtype=float))
    entry |= {
        "bits_sum": round(total),
        "bits_mean": round(total / bits.size, 2),
        "bits_largest": round(float(bits.max()), 2),
    }
    suffix = ".png" if target == STREAM else Path(target).suffix
    qp = np.broadcast_to(np.asarray(decoded.qp, np.int64), bits.shape)
    shown = heatmap.panels(decoded.picture.pixels, bits, qp)
    outputs.write(target, lambda stream: images.save(shown, stream, suffix), overwrite)
    return entry | {"heatmap": target}


@click_parts.command("models", example="cotam models --json")
@options.json_output
def models(json_output: bool) -> None:
    """List the shipped weights."""
    shipped = infos.models()
    if json_output:
        click.echo(json.dumps(shipped, indent=1))
        return
    for model in shipped:
        training = model["training"]
        click.echo(
            f"{model['name']}  {model['fingerprint']}  "
            f"{model['parameters'] / 1e6:.2f} M parameters  "
            f"{model['bytes'] / 1e6:.1f} MB  {training['steps']} steps, {model['date']}"
        )
