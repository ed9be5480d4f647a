"""The command `cotam`."""

from __future__ import annotations

import os
from typing import NoReturn

import click

from codec.cli.click_parts import CONTEXT, LazyGroup
from codec.cli.terminal import explained, flush, plain_warnings, say, sound_streams

# Where each command is, and its line in the list of commands.
COMMANDS = {
    "encode": ("codec.cli.commands.encode:encode", "Encode pictures to .ctm files."),
    "decode": ("codec.cli.commands.decode:decode", "Decode .ctm files to pictures."),
    "info": ("codec.cli.commands.inspect:info", "Print what the headers of .ctm files say."),
    "inspect": ("codec.cli.commands.inspect:inspect", "Print one file's header, draw its bits."),
    "models": ("codec.cli.commands.inspect:models", "List the installed weights."),
    "view": ("codec.cli.commands.view:view", "Show .ctm files in a browser, beside originals."),
    "export": ("codec.cli.commands.export:export_graphs", "Write a codec as ONNX graphs."),
    "completion": (
        "codec.cli.commands.completion:completion",
        "Print the completion script of a shell.",
    ),
    "doctor": ("codec.cli.commands.doctor:doctor", "Say what is installed, missing, how fast."),
    "desktop": ("codec.cli.commands.desktop:desktop", "Make the desktop know .ctm files."),
    "man": ("codec.cli.commands.manual:manual", "Print the manual page."),
    "eval": ("codec.cli.commands.evaluate:evaluate", "Compare codecs on pictures."),
    "serve": ("codec.cli.commands.serve:serve", "Convert .ctm in requests to a model's server."),
}


# Packages whose versions --version prints.
RUNS_ON = ("numpy", "pillow", "constriction", "onnxruntime", "torch")


def _print_version(context: click.Context, _: click.Parameter, show: bool) -> None:
    if show:
        from codec import __version__

        click.echo(f"cotam {__version__}")
        click.echo("\n".join(_versions()))
        context.exit()


def _versions() -> list[str]:
    """What the program runs on, without importing it."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"Python {platform.python_version()}"]
    for package in RUNS_ON:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package}: not installed")
    return lines


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings=CONTEXT, no_args_is_help=True)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the versions of CoTAM and its libraries.",
)
def app() -> None:
    """CoTAM: the image codec for multimodal LLMs."""


def main(command: click.Command = app) -> NoReturn:
    """Run the program; an interrupt prints one line instead of a traceback."""
    # This comes first, because the next file that is opened would get a closed stream's number.
    sound_streams()
    plain_warnings()
    try:
        command(prog_name="cotam" if command is app else None)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        say("cotam: interrupted", err=True)
        status = 1
    except BrokenPipeError:  # the reader has closed the pipe
        os._exit(1)
    except OSError as error:
        say(f"cotam: {explained(error)}", err=True)
        status = 1
    flush()
    # Everything is on disk; unloading PyTorch's CUDA libraries would cost 110 MB and a third of a
    # second more.
    os._exit(status)


if __name__ == "__main__":
    main()
