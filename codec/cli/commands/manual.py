"""The command `cotam man`: a manual page made of the help of every command.

::

    click commands -> sections of options -> roff (man(7)) -> docs/cotam.1 -> share/man/man1
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from codec import __version__
from codec.cli import click_parts
from codec.cli.click_parts import ALL, Command, LazyGroup

ENDING = """
.SH EXIT STATUS
.TP
0
Everything was done.
.TP
1
A file could not be read, coded or written; the others are done.
.TP
2
The arguments are to blame.
.SH ENVIRONMENT
.TP
.B COTAM_BACKEND
What runs the networks: auto, onnx or torch.
.TP
.B COTAM_WEIGHTS
Files and folders of weights, separated as in PATH.
.TP
.B COTAM_GRAPHS
Folder of \\fBcotam export\\fR, whose halves are used instead of the weights.
.TP
.B COTAM_DATA
Data sets for \\fBcotam eval\\fR and training.
.TP
.B TMPDIR
Where pictures that are too large for memory are kept.
.SH SEE ALSO
.BR avifenc (1),
.BR cjxl (1),
.BR cwebp (1)
"""


@click_parts.command("man", example="cotam man | man -l -")
@click.pass_context
def manual(context: click.Context) -> None:
    """Print the manual page, with every option of every command, in roff."""
    click.echo(page(context.find_root().command), nl=False)


def page(program: click.Command) -> str:
    """The manual page of a program.

    Args:
        program: the group of all commands.

    Returns:
        roff, with the macros of man(7).
    """
    assert isinstance(program, LazyGroup)
    context = click.Context(program, info_name="cotam")
    about = _escaped(program.help or "").removeprefix("CoTAM: ").rstrip(".")
    lines = [
        f'.TH COTAM 1 "" "cotam {__version__}" "User Commands"',
        ".SH NAME",
        f"cotam \\- {about}",
        ".SH SYNOPSIS",
        ".B cotam",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH COMMANDS",
    ]
    # Commands of other packages are left out.
    for name in program.lazy:
        command = program.get_command(context, name)
        assert command is not None
        lines += _command(command, context, name)
    return "\n".join(lines) + ENDING


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    # The manual lists advanced options as well.
    context.meta[ALL] = True
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f".SS {_escaped(usage)}"
    yield from _paragraphs(command.help or "")
    if isinstance(command, Command):
        yield from _options(command, context)
        if command.example:
            yield from (".PP", "Example:", f".B {_escaped(command.example)}")
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            below = command.get_command(context, sub)
            assert below is not None
            yield from _command(below, context, sub)


def _options(command: Command, context: click.Context) -> Iterator[str]:
    for title, records in command.sections(context).items():
        if records:
            yield from (".PP", f".I {_escaped(title)}")
        for names, text in records:
            yield from (".TP", f".B {_escaped(names)}", _escaped(text))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    """Escape the characters that roff would interpret: backslashes, dashes, a first . or '."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
