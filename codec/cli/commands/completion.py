"""The command `cotam completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from codec.cli import click_parts

SHELLS = ("bash", "zsh", "fish")
# The variable that click's scripts set; click derives it from the program's name.
VARIABLE = "_COTAM_COMPLETE"


@click_parts.command("completion", example='eval "$(cotam completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and files in a shell.

    Load it in ~/.bashrc or ~/.zshrc as below; for fish, write it to
    ~/.config/fish/completions/cotam.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "cotam", VARIABLE).source())
