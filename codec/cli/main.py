"""The command `cotam`."""

from __future__ import annotations

import os
import sys
from collections.abc import Set
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn, Optional

import typer

import codec
from codec import quality as qualities
from codec.backends.manifest import MANIFEST
from codec.bitstream import container
from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.cli import inspect
from codec.cli.jobs import ENCODED, STREAM, Existing, Put, Result, Work, plan, run
from codec.cli.options import (
    AUTO,
    DEFAULT_MEMORY,
    Background,
    Debug,
    Device,
    Inputs,
    Json,
    Keep,
    Limit,
    Memory,
    Model,
    NoOverwrite,
    Out,
    Overwrite,
    OwnModel,
    SkipExisting,
    Workers,
    check_device,
    fail,
    load,
    load_for,
    own_weights,
)
from codec.cli.report import Report
from codec.cli.terminal import explained, flush, plain_warnings, say, sound_streams
from codec.cli.tuning import named, tuning
from codec.cli.tuning import tuner as tuner_of
from codec.cli.workers import stoppable
from codec.errors import BadArgument, CodecError
from codec.guidance import DEFAULT_GUIDE, PRESETS, STRENGTH, choose
from codec.io import compose, folders, images
from codec.io.metadata import DEFAULT_KEEP
from codec.options import TOOL_NAMES, EncodeOptions
from codec.tools.effort import effort_help
from codec.tools.interface import DEFAULT_EFFORT
from codec.weights import checkpoint

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(show: bool) -> None:
    if show:
        typer.echo(f"cotam {codec.__version__}")
        raise typer.Exit


@app.callback()
def general(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """CoTAM: the image codec for multimodal LLMs."""


class _Looks:
    """A student that does nothing, to check the name of a guide before anything is loaded."""

    look = staticmethod(lambda pixels: pixels)


def encode_file(source: bytes | Path, target: str, options: dict[str, Any]) -> tuple[Put, Result]:
    """Encode a picture.

    Args:
        source: a picture file or its bytes.
        target: where the result goes; not used.
        options: from `encode`.

    Returns:
        What writes the .ctm file, and the result.
    """
    # Before the weights: Pillow takes 4 bytes a pixel, and PyTorch is not loaded yet
    # (docs/design.md, "Tiles").
    picture = images.load(source, options["limit"])
    loaded = load(options["model"], options["device"], options["limit"], options["memory"])
    guide = None
    if options["guide"]:
        name, preset, tower, weights = options["guide"]
        guide = choose(name, preset, tower, weights, loaded.backend)
    tuner = tuner_of(options["tune"], loaded.backend) if options["tune"] else None
    encoded = loaded.encode_full(picture, options=options["encode"], guide=guide, tune=tuner)
    height, width = picture.pixels.shape[:2]
    data = encoded.data
    bpp = len(encoded.data) * 8 / (width * height)
    result = Result("", "", "", 0, 0, width, height, bpp, encoded.seconds, encoded.notes)
    return lambda stream: stream.write(data), result


def decode_file(source: bytes | Path, target: str, options: dict[str, Any]) -> tuple[Put, Result]:
    """Decode a .ctm file.

    Args:
        source: the file or its bytes.
        target: its suffix names the format; PNG on stdout.
        options: from `decode`.

    Returns:
        What writes the picture, and the result.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    # A bad file is refused before the weights are loaded.
    content = container.read(data, options["limit"])
    loaded = load_for(
        data, options["model"], options["device"], options["limit"], options["memory"]
    )
    decoded = (
        loaded.decode_preview(data) if options["level"] == "preview" else loaded.decode_full(data)
    )
    picture = decoded.picture
    suffix = ".png" if target == STREAM else Path(target).suffix
    bpp = len(data) * 8 / (content.width * content.height)
    notes = list(picture.notes)
    result = Result("", "", "", 0, 0, *decoded.size[::-1], bpp, decoded.seconds, notes)

    def put(stream: IO[bytes]) -> None:
        notes.extend(
            images.save(picture, stream, suffix, options["file_quality"], options["background"])
        )

    return put, result


@app.command()
def encode(
    inputs: Inputs,
    output: Out = None,
    quality: Annotated[
        Optional[float],
        typer.Option("-q", "--quality", metavar="0..100", help="Default: 50."),
    ] = None,
    target_size: Annotated[
        Optional[str],
        typer.Option(metavar="20KB", help="Use the best quality whose file is not larger."),
    ] = None,
    tool: Annotated[
        str,
        typer.Option(
            metavar="|".join(TOOL_NAMES), help="Coding tool; auto chooses by the picture."
        ),
    ] = "auto",
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every pixel exactly.")] = False,
    effort: Annotated[int, typer.Option(metavar="0..9", help=effort_help())] = DEFAULT_EFFORT,
    model: Model = "default",
    jobs: Workers = 1,
    device: Device = "auto",
    overwrite: Overwrite = False,
    no_overwrite: NoOverwrite = False,
    skip_existing: SkipExisting = False,
    guide: Annotated[
        Optional[str],
        typer.Option(
            metavar="student|clip|uniform|FILE",
            help="What decides where steps are finer; FILE is a map (.png, .npy).",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(metavar="0..1", help="Strength of the guide; 0 means uniform steps.")
    ] = STRENGTH,
    preset: Annotated[
        str,
        typer.Option(
            "--guide-preset", metavar="|".join(PRESETS), help="How the guide's map becomes steps."
        ),
    ] = "default",
    guide_model: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Tower of the guide clip; default: ViT-L-14-336."),
    ] = None,
    guide_weights: Annotated[
        Optional[str],
        typer.Option(metavar="TAG|FILE", help="Weights of that tower; default: openai."),
    ] = None,
    slope: Annotated[
        Optional[float],
        typer.Option(
            metavar="0..14",
            help="Lower the QP by so much per nat of estimated cost above the usual picture.",
        ),
    ] = None,
    tune: Annotated[
        Optional[str],
        typer.Option(
            metavar="[clip|TOWER]",
            help="Tune the file to the tower that will look; without a name, to the shipped "
            "feature network. Takes seconds.",
        ),
    ] = None,
    tune_weights: Annotated[
        Optional[str], typer.Option(metavar="TAG|FILE", help="The tower's weights.")
    ] = None,
    tune_steps: Annotated[
        Optional[int],
        typer.Option(metavar="N", help="Tuning steps; default: 20, and 6 without a name."),
    ] = None,
    keep: Keep = DEFAULT_KEEP,
    strip: Annotated[bool, typer.Option("--strip", help="The same as --keep none.")] = False,
    limit_pixels: Limit = DEFAULT_LIMIT_PIXELS,
    limit_memory: Memory = DEFAULT_MEMORY,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Encode pictures to .ctm files."""
    try:
        if quality is not None and target_size is not None:
            raise BadArgument("give a quality or a target size, not both")
        settings = EncodeOptions(
            quality=quality,
            target_bytes=None if target_size is None else qualities.parse_size(target_size),
            lossless=lossless,
            tool=tool,  # type: ignore[arg-type]
            effort=effort,
            strength=strength,
            slope=slope,
            keep=keep,  # type: ignore[arg-type]
            strip=strip,
        )
        memory = qualities.parse_size(limit_memory)
        asked = guide or preset != "default" or guide_model or guide_weights
        # None: the guide of the weights.
        chosen = (guide or DEFAULT_GUIDE, preset, guide_model, guide_weights) if asked else None
        if chosen and strength > 0:
            choose(*chosen, _Looks())
        tuned = tuning(tune, tune_weights, tune_steps)
    except BadArgument as error:
        fail(str(error), 2)
    except CodecError as error:
        fail(explained(error))
    options: dict[str, Any] = {
        "encode": settings,
        "limit": limit_pixels,
        "guide": chosen,
        "tune": tuned,
        "memory": memory,
    }
    options |= {
        "model": own_weights(model, "encoder"),
        "device": device,
        "replace": overwrite,
        "leave": no_overwrite,
        "skip": skip_existing,
        "debug": debug,
    }
    _run(inputs, output, ENCODED, folders.PICTURES, encode_file, options, jobs, json_output)


@app.command("export")
def export_graphs(
    output: Annotated[
        str,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Folder in which encoder/ and decoder/ are written."
        ),
    ],
    model: Model = "default",
    int8: Annotated[
        Optional[str],
        typer.Option(
            metavar="PICTURES",
            help="Transforms in int8, with ranges found on these pictures: faster, less exact.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a codec as ONNX graphs, for machines without PyTorch: `codec.load("DIR/encoder")`."""
    try:
        from codec.export.onnx import export

        pictures = None if int8 is None else folders.pictures_at(Path(int8))
        if pictures == []:
            raise BadArgument("8-bit transforms need pictures to find their ranges with")
        sizes = export(checkpoint.load(model), Path(output), pictures)
    except (CodecError, OSError) as error:
        if debug:
            raise
        fail(explained(error))
    for half, size in sizes.items():
        typer.echo(f"{Path(output) / half}: {size / 1e6:.1f} MB")


@app.command()
def decode(
    inputs: Inputs,
    output: Out = None,
    level: Annotated[
        str,
        typer.Option(
            metavar="pixels|preview", help="preview is fast and has an eighth of the sides."
        ),
    ] = "pixels",
    model: OwnModel = AUTO,
    jobs: Workers = 1,
    device: Device = "auto",
    quality: Annotated[
        Optional[int],
        typer.Option(
            "-q",
            "--quality",
            min=0,
            max=100,
            metavar="0..100",
            help="Quality of .jpg, .webp and .avif; default: visually lossless.",
        ),
    ] = None,
    background: Background = "white",
    overwrite: Overwrite = False,
    no_overwrite: NoOverwrite = False,
    skip_existing: SkipExisting = False,
    limit_pixels: Limit = DEFAULT_LIMIT_PIXELS,
    limit_memory: Memory = DEFAULT_MEMORY,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Decode .ctm files to pictures (PNG, or the format of the output's suffix)."""
    if level not in ("pixels", "preview"):
        fail(f"level must be pixels or preview, not '{level}'", 2)
    try:
        memory = qualities.parse_size(limit_memory)
        compose.colour_of(background)
    except BadArgument as error:
        fail(str(error), 2)
    options: dict[str, Any] = {"limit": limit_pixels, "memory": memory, "level": level}
    options |= {"model": own_weights(model, "decoder"), "device": device}
    options |= {"file_quality": quality, "background": background, "debug": debug}
    options |= {"replace": overwrite, "leave": no_overwrite, "skip": skip_existing}
    _run(inputs, output, ".png", {ENCODED}, decode_file, options, jobs, json_output)


def _run(
    inputs: list[str],
    output: str | None,
    suffix: str,
    kinds: Set[str],
    work: Work,
    options: dict[str, Any],
    workers: int,
    as_json: bool,
) -> None:
    report = Report(as_json, False)
    try:
        existing = _existing(options)
        schedule = plan(inputs, output, suffix, kinds, existing)
        if not (schedule.jobs or schedule.refused or schedule.unreadable or schedule.done):
            raise BadArgument(
                f"there is no file to work on (looked for {', '.join(sorted(kinds))})"
            )
        if schedule.done:
            say(f"cotam: {schedule.done} done already", err=True)
        report.to_stderr = any(job.target == STREAM for job in schedule.jobs)
        if report.to_stderr and sys.stdout.isatty():
            raise BadArgument(
                "binary data is not written to a terminal; give -o FILE or redirect it"
            )
        # Here, so that a missing device is reported once and not for each picture.
        check_device(options["device"])
    except BadArgument as error:
        fail(str(error), 2)
    try:
        if not (Path(options["model"]) / MANIFEST).is_file():
            checkpoint.find("default" if options["model"] == AUTO else options["model"])
    except CodecError as error:
        fail(explained(error))
    for note in schedule.notes:
        report.note(note)
    for result in schedule.refused:
        report.add(result, refused=True)
    for result in schedule.unreadable:
        report.add(result)
    with stoppable(), _progress(len(schedule.jobs)) as advance:
        for result in run(schedule.jobs, work, options, workers):
            report.add(result)
            advance()
    if status := report.finish():
        raise typer.Exit(status)


def _existing(options: dict[str, Any]) -> Existing:
    """What happens to existing files. Raises BadArgument for options that contradict each other."""
    chosen = [name for name in ("replace", "leave", "skip") if options.pop(name)]
    if "replace" in chosen and len(chosen) > 1:
        raise BadArgument("--overwrite cannot be combined with --no-overwrite or --skip-existing")
    options["overwrite"] = "leave" not in chosen
    names: dict[str, Existing] = {"replace": "replace", "skip": "skip", "leave": "leave"}
    return next((names[name] for name in ("skip", "leave", "replace") if name in chosen), "refuse")


def _progress(count: int) -> Any:
    """A bar on stderr, if that is a terminal, stdout is not, and there are several files."""
    if count < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return nullcontext(lambda: None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task("", total=count)

    class Bar:
        def __enter__(self) -> Any:
            progress.start()
            return lambda: progress.advance(task)

        def __exit__(self, *_: object) -> None:
            progress.stop()

    return Bar()


def _plug_in(arguments: list[str]) -> None:
    """Add `eval` and the commands of other packages (entry points `cotam.commands`).

    Only if the command is none of the others: looking for entry points takes time.
    """
    names = {
        (command.callback.__name__ if command.name is None else command.name)
        for command in app.registered_commands
        if command.callback
    }
    if arguments and arguments[0] in names:
        return
    from codec.cli.evaluate import evaluate

    app.command("eval")(evaluate)
    from importlib.metadata import entry_points

    for entry in entry_points(group="cotam.commands"):
        app.command(entry.name)(entry.load())


def main(commands: typer.Typer = app) -> NoReturn:
    """Run the program; an interrupt prints one line instead of a traceback."""
    # First: a closed stream's number would go to the next file that is opened.
    sound_streams()
    plain_warnings()
    if commands is app:
        _plug_in(sys.argv[1:])
    sys.argv[1:] = named(sys.argv[1:])
    try:
        commands()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        say("cotam: interrupted", err=True)
        status = 1
    except BrokenPipeError:  # nobody reads the rest
        os._exit(1)
    except OSError as error:
        say(f"cotam: {explained(error)}", err=True)
        status = 1
    flush()
    # Everything is on disk; unloading PyTorch's CUDA libraries would cost 110 MB and a third of a
    # second more.
    os._exit(status)


inspect.register(app)

if __name__ == "__main__":
    main()
