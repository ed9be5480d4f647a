"""The commands that only read: info, inspect, models."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

import codec
from codec.bitstream.container import DEFAULT_LIMIT_MEMORY, DEFAULT_LIMIT_PIXELS
from codec.cli import jobs
from codec.cli.options import (
    AUTO,
    Debug,
    Device,
    Inputs,
    Json,
    Limit,
    NoOverwrite,
    OwnModel,
    check_device,
    fail,
    load_for,
    own_weights,
)
from codec.cli.outputs import same_file
from codec.cli.terminal import explained, one_line, say
from codec.errors import BadArgument, CodecError
from codec.io import heatmap, images


def _listing(entry: dict[str, Any]) -> str:
    return "\n".join(
        f"{key.replace('_', ' '):12} {one_line(str(value))}"
        for key, value in entry.items()
        if value is not None
    )


def info(
    inputs: Inputs,
    json_output: Json = False,
    limit_pixels: Limit = DEFAULT_LIMIT_PIXELS,
    debug: Debug = False,
) -> None:
    """Print what the headers of .ctm files say; nothing is decoded."""
    entries = []
    files, unreadable = jobs.files_of(inputs, {jobs.ENCODED})
    for folder in unreadable:
        say(f"cotam: {one_line(f'{folder.source}: {folder.error}')}", err=True)
    failed = bool(unreadable)
    for item in files:
        try:
            entries.append(
                {"file": item} | asdict(codec.inspect(jobs.read(item), limit_pixels=limit_pixels))
            )
        except (CodecError, OSError) as error:
            if debug:
                raise
            failed = True
            say(f"cotam: {one_line(f'{item}: {explained(error)}')}", err=True)
    if json_output:
        typer.echo(json.dumps(entries, indent=1))
    else:
        for entry in entries:
            typer.echo(_listing(entry))
    if failed:
        raise typer.Exit(1)


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .ctm file or - for stdin.")],
    target: Annotated[
        Optional[str],
        typer.Option(
            "--heatmap",
            metavar="OUT.png",
            help="Decode the file and draw its QP field and the bits spent.",
        ),
    ] = None,
    model: OwnModel = AUTO,
    device: Device = "auto",
    no_overwrite: NoOverwrite = False,
    limit_pixels: Limit = DEFAULT_LIMIT_PIXELS,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Print what info prints, for one file.

    With --heatmap also decode it, count the bits and draw where they went.
    """
    try:
        check_device(device)
    except BadArgument as error:
        fail(str(error), 2)
    if target == jobs.STREAM and sys.stdout.isatty():
        fail("binary data is not written to a terminal; give --heatmap FILE or redirect it", 2)
    try:
        entry = _examine(
            file,
            target,
            (own_weights(model, "decoder"), device, limit_pixels, DEFAULT_LIMIT_MEMORY),
            not no_overwrite,
        )
    except (CodecError, OSError, MemoryError) as error:
        if debug:
            raise
        fail(f"{file}: {explained(error)}")
    typer.echo(
        json.dumps(entry, indent=1) if json_output else _listing(entry), err=target == jobs.STREAM
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
        jobs.refuse_existing(target)
    if target is not None and same_file(file, target):
        raise BadArgument(f"the heatmap would replace {file}; give it another name")
    data = jobs.read(file)
    limit = weights[2]
    entry = {"file": file} | asdict(codec.inspect(data, limit_pixels=limit))
    if target is None:
        return entry
    decoded = load_for(data, *weights).decode_full(data, want_bits=True)
    bits = decoded.bits
    assert bits is not None
    # In float64: float32 would lose single bits among millions.
    total = float(bits.sum(dtype=float))
    entry |= {
        "bits_sum": round(total),
        "bits_mean": round(total / bits.size, 2),
        "bits_largest": round(float(bits.max()), 2),
    }
    suffix = ".png" if target == jobs.STREAM else Path(target).suffix
    qp = np.broadcast_to(np.asarray(decoded.qp, np.int64), bits.shape)
    shown = heatmap.panels(decoded.picture.pixels, bits, qp)
    jobs.write(target, lambda stream: images.save(shown, stream, suffix), overwrite)
    return entry | {"heatmap": target}


def models(json_output: Json = False) -> None:
    """List the shipped weights."""
    shipped = codec.models()
    if json_output:
        typer.echo(json.dumps(shipped, indent=1))
        return
    for model in shipped:
        training = model["training"]
        typer.echo(
            f"{model['name']}  {model['fingerprint']}  "
            f"{model['parameters'] / 1e6:.2f} M parameters  "
            f"{model['bytes'] / 1e6:.1f} MB  {training['steps']} steps, {model['date']}"
        )


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (info, inspect, models):
        app.command()(command)
