"""The command `cotam eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.cli.terminal import explained, say
from codec.errors import BadArgument, CodecError
from codec.evaluation.judges import Sample, data_root, spread

ROWS = "rows.jsonl"


def evaluate(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...", help="Pictures, folders, or sets: kodak, imagenet, receipts, ..."
        ),
    ],
    codecs: Annotated[
        str, typer.Option(help="Names separated by commas; the first is compared with the others.")
    ] = "cotam,jpeg,webp,avif",
    metrics: Annotated[
        str,
        typer.Option(
            help="One or more of psnr, ms-ssim, tokens, tiles, top1, ocr, words, boxes, vqa."
        ),
    ] = "psnr,ms-ssim",
    output: Annotated[
        str, typer.Option("-o", "--out", metavar="DIR", help="Folder for the report.")
    ] = "report",
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, metavar="N", help="Number of processes.")
    ] = 1,
    limit: Annotated[
        Optional[int],
        typer.Option(min=1, metavar="N", help="Use at most N pictures, evenly spaced."),
    ] = None,
    show: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of pictures that the page shows.")
    ] = 3,
    tower: Annotated[
        Optional[str], typer.Option(help="Tower for tokens; default: DeiT-Tiny below COTAM_DATA.")
    ] = None,
    tower_weights: Annotated[
        Optional[str], typer.Option(metavar="TAG|FILE", help="Weights of the tower.")
    ] = None,
    detector: Annotated[
        Optional[str], typer.Option(metavar="FILE", help="YOLOX model in ONNX for boxes.")
    ] = None,
    vqa_model: Annotated[
        Optional[str],
        typer.Option(metavar="DIR", help="Folder of a LLaVA-style model of transformers for vqa."),
    ] = None,
    questions: Annotated[
        Optional[str],
        typer.Option(metavar="FILE", help="Questions for vqa, in the format of POPE or TextVQA."),
    ] = None,
    limit_pixels: Annotated[
        int, typer.Option(min=1, metavar="N", help="Refuse larger pictures.")
    ] = DEFAULT_LIMIT_PIXELS,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Compare codecs on pictures: curves, BD-rates, and a page to look at."""
    try:
        from codec.evaluation.metrics import Settings
        from codec.evaluation.report.plots import write_plots  # noqa: F401
    except ImportError as error:
        typer.echo(f"cotam: comparing needs {error.name}: pip install 'cotam[bench]'", err=True)
        raise typer.Exit(1) from None
    settings = Settings(data_root(), tower, tower_weights, detector, vqa_model, questions)
    try:
        target = run(
            inputs, codecs, metrics, settings, Path(output), jobs, limit, show, limit_pixels
        )
    except (CodecError, OSError) as error:
        if debug:
            raise
        say(f"cotam: {explained(error)}", err=True)
        raise typer.Exit(2 if isinstance(error, BadArgument) else 1) from None
    typer.echo(str(target))


def run(
    items: list[str],
    codecs: str,
    metrics: str,
    settings: object,
    folder: Path,
    processes: int = 1,
    limit: int | None = None,
    show: int = 3,
    limit_pixels: int = DEFAULT_LIMIT_PIXELS,
) -> Path:
    """Measure what is missing and write the report.

    Args:
        items: pictures, folders or names of sets.
        codecs: names separated by commas.
        metrics: names separated by commas.
        settings: evaluation.metrics.Settings.
        folder: for the report and the measured rows, which are not measured again.
        processes: workers.
        limit: pictures at most; None for all.
        show: pictures on the page.
        limit_pixels: larger pictures are refused.

    Returns:
        The page, index.html.

    Raises:
        CodecError: an argument is unknown, or nothing can be measured.
    """
    from codec.evaluation import codecs as contenders
    from codec.evaluation import inputs, measure
    from codec.evaluation.metrics import Settings, metrics_of, usable
    from codec.evaluation.report import page, plots, same_size, summary

    assert isinstance(settings, Settings)
    measured, missing = usable(metrics_of(metrics), settings)
    opened, absent = contenders.available(contenders.names(codecs))
    pictures = inputs.inputs(items, measured, settings, limit)
    folder.mkdir(parents=True, exist_ok=True)
    systems = tuple((name, one.identity, one.qualities) for name, one in opened.items())
    setup = measure.Setup(
        systems, tuple(metric.name for metric in measured), settings, limit_pixels
    )
    rows = measure.Rows(folder / ROWS)
    unread = measure.run(pictures, setup, rows, processes)
    readable = [picture for picture in pictures if picture.path.name not in unread]
    if not readable:
        raise BadArgument(f"none of the pictures could be read: {next(iter(unread.values()))}")
    titles = {name: one.name for name, one in opened.items()}
    result = summary.summary_of(setup, titles, readable, rows, missing | absent | unread)
    written = summary.write_results(result, folder)
    chosen = spread([Sample(picture.path, picture) for picture in readable], show) if show else []
    entries = [
        entry for sample in chosen for entry in same_size.shown(sample.truth, opened, limit_pixels)
    ]
    return page.write_page(result, written, plots.write_plots(result, folder), entries, folder)
