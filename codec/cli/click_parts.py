"""What this program adds to click: options grouped by purpose, and commands imported when called.

--help fits one screen; --help-all also lists the advanced options.

::

    cotam ARGUMENTS -> LazyGroup -> import of one command's module -> Command -> sections of help
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
OTHER = "General"
# Key in the metadata of a click context: whether the help lists advanced options.
ALL = "codec.cli.all"


class Option(click.Option):
    """An option that the help lists under a section.

    Attributes:
        section: title of the section.
        advanced: listed by --help-all and the manual only.
    """

    def __init__(
        self, *names: Any, section: str = OTHER, advanced: bool = False, **settings: Any
    ) -> None:
        super().__init__(*names, **settings)
        self.section = section
        self.advanced = advanced


class Command(click.Command):
    """A command whose help lists options by section and ends with an example."""

    def __init__(self, *args: Any, example: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, and --help-all if some of them are advanced."""
        parameters = super().get_params(ctx)
        if any(getattr(parameter, "advanced", False) for parameter in parameters):
            parameters.append(_help_all())
        return parameters

    def sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Each section's options and their help, in the order in which sections first occur."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            hidden = getattr(parameter, "advanced", False) and not ctx.meta.get(ALL)
            if record is not None and not hidden and not isinstance(parameter, click.Argument):
                section = getattr(parameter, "section", OTHER)
                sections.setdefault(section, []).append(record)
        # The general section comes last. It includes --help, which click adds itself.
        general = sections.pop(OTHER, [])
        return sections | {OTHER: general}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, records in self.sections(ctx).items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        if self.example:
            formatter.write(f"\nExample: {self.example}\n")


def _help_all() -> click.Option:
    """An option that prints the help with all options."""

    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked:
            ctx.meta[ALL] = True
            click.echo(ctx.get_help())
            ctx.exit()

    return click.Option(
        ["--help-all"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show advanced options, too, and exit.",
    )


class LazyGroup(click.Group):
    """Commands that are imported when they are called or listed."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        """Make a group.

        Args:
            *args: as for click.Group.
            lazy: name of a command -> ("module:attribute", one line of help).
            **settings: as for click.Group.
        """
        super().__init__(*args, **settings)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `lazy`, then those of other packages."""
        return [*self.lazy, *(name for name in sorted(_plugins()) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name in self.lazy:
            module, attribute = self.lazy[cmd_name][0].split(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        entry = _plugins().get(cmd_name)
        return None if entry is None else as_command(entry.load(), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; only those of other packages are imported for their help."""
        rows = [(name, text) for name, (_, text) in self.lazy.items()]
        for name in self.list_commands(ctx)[len(rows) :]:
            command = self.get_command(ctx, name)
            assert command is not None
            rows.append((name, command.get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def as_command(target: Any, name: str) -> click.Command:
    """A click command, or one made of a function whose parameters are click's."""
    return target if isinstance(target, click.Command) else click.command(name)(target)


def _plugins() -> dict[str, Any]:
    """Commands of other packages (entry points `cotam.commands`)."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group="cotam.commands")}


Decorator = Callable[[Any], Any]


def option(*names: str, section: str = OTHER, **settings: Any) -> Decorator:
    """A decorator that adds an Option of a section."""
    return click.option(*names, cls=Option, section=section, **settings)


def command(name: str, example: str = "") -> Decorator:
    """A decorator that makes a Command."""
    return click.command(name, cls=Command, example=example, context_settings=CONTEXT)
