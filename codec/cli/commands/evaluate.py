"""The command `cotam eval`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.cli import click_parts, options
from codec.cli.click_parts import option
from codec.cli.terminal import explained, say
from codec.errors import BadArgument, CodecError
from codec.evaluation.judges import Sample, data_root, spread

ROWS = "rows.jsonl"
# Packages of cotam[bench] that every comparison needs; they are imported when they are used.
NEEDED = ("torch", "bjontegaard", "matplotlib")
WHAT = "What is compared"
REPORT = "Report"
JUDGES = "Judges"


@click_parts.command("eval", example="cotam eval pictures/ --codecs cotam,avif -o report/")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@option(
    "--codecs",
    default="cotam,jpeg,webp,avif",
    metavar="LIST",
    section=WHAT,
    help="The first is compared with the others; default cotam,jpeg,webp,avif.",
)
@option(
    "--metrics",
    default="psnr,ms-ssim",
    metavar="LIST",
    section=WHAT,
    help="Default psnr,ms-ssim; also tokens, tiles, top1, ocr, words, boxes, vqa, mme.",
)
@option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    section=WHAT,
    help="Use at most N pictures, evenly spaced; default: all.",
)
@option(
    "-o",
    "--out",
    "output",
    default="report",
    metavar="DIR",
    section=REPORT,
    help="Folder for the report; default: report.",
)
@option(
    "--show",
    type=click.IntRange(min=0),
    default=3,
    metavar="N",
    section=REPORT,
    help="Number of pictures that the page shows; default 3.",
)
@option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    section=REPORT,
    help="Number of processes; default 1.",
)
@option(
    "--tower",
    metavar="NAME",
    section=JUDGES,
    help="Tower for tokens; default: DeiT-Tiny below COTAM_DATA.",
)
@option("--tower-weights", metavar="TAG|FILE", section=JUDGES, help="Weights of the tower.")
@option("--detector", metavar="FILE", section=JUDGES, help="YOLOX model in ONNX for boxes.")
@option(
    "--vqa-model",
    metavar="DIR",
    section=JUDGES,
    help="Folder of a model of transformers for vqa and mme.",
)
@option(
    "--questions",
    metavar="FILE",
    section=JUDGES,
    help="File of questions for vqa, or MME's folder.",
)
@options.limit_pixels
@options.debug
def evaluate(
    inputs: tuple[str, ...],
    codecs: str,
    metrics: str,
    limit: int | None,
    output: str,
    show: int,
    jobs: int,
    tower: str | None,
    tower_weights: str | None,
    detector: str | None,
    vqa_model: str | None,
    questions: str | None,
    limit_pixels: int,
    debug: bool,
) -> None:
    """Compare codecs on pictures: curves, BD-rates, and a page to look at.

    IN is a picture, a folder, or a set: kodak, imagenet, receipts, ...
    """
    missing = next((name for name in NEEDED if find_spec(name) is None), None)
    if missing:
        click.echo(f"cotam: comparing needs {missing}: pip install 'cotam[bench]'", err=True)
        raise click.exceptions.Exit(1)
    from codec.evaluation.metrics import Settings

    settings = Settings(data_root(), tower, tower_weights, detector, vqa_model, questions)
    try:
        target = run(
            list(inputs), codecs, metrics, settings, Path(output), jobs, limit, show, limit_pixels
        )
    except (CodecError, OSError) as error:
        if debug:
            raise
        say(f"cotam: {explained(error)}", err=True)
        raise click.exceptions.Exit(2 if isinstance(error, BadArgument) else 1) from None
    click.echo(str(target))


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
        processes: number of worker processes.
        limit: largest number of pictures; None for all.
        show: number of pictures on the page.
        limit_pixels: larger pictures are refused.

    Returns:
        The page, index.html.

    Raises:
        CodecError: an argument is unknown, or nothing can be measured.
    """
    from codec.evaluation import codecs as contenders
    from codec.evaluation import inputs, measure
    from codec.evaluation.metrics import Settings, metrics_of, usable

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
    from codec.evaluation.report import page, plots, same_size, summary

    titles = {name: one.name for name, one in opened.items()}
    result = summary.summary_of(setup, titles, readable, rows, missing | absent | unread)
    written = summary.write_results(result, folder)
    # Pictures that random weights decode are not shown.
    trained = {name: one for name, one in opened.items() if one.trained}
    shown = show if trained else 0
    chosen = spread([Sample(picture.path, picture) for picture in readable], shown) if shown else []
    entries = [
        entry for sample in chosen for entry in same_size.shown(sample.truth, trained, limit_pixels)
    ]
    return page.write_page(result, written, plots.write_plots(result, folder), entries, folder)
