"""The help of every command: one screen, grouped, with defaults, ranges and an example."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from codec.cli.click_parts import Command, Option
from codec.cli.main import COMMANDS, app

MOST_LINES = 50
COLUMNS = 100
# Placeholders for names; all other placeholders are for numbers.
NAMES = re.compile(r"NAME|FILE|PATH|DIR|OUT|URL|TAG|PICTURES|LIST|TOWER|COLOUR|ADDRESS|\|")


def commands() -> dict[str, click.Command]:
    """Maps the words of each command, such as `desktop install`, to the command."""
    found: dict[str, click.Command] = {}
    context = click.Context(app, info_name="cotam")
    for name in COMMANDS:
        one = app.get_command(context, name)
        assert one is not None
        found[name] = one
        if isinstance(one, click.Group):
            found |= {f"{name} {sub}": each for sub, each in one.commands.items()}
    return found


ALL = commands()


def help_of(*words: str) -> list[str]:
    done = CliRunner().invoke(app, words, terminal_width=COLUMNS, prog_name="cotam")
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("name", ["", *ALL])
def test_the_help_fits_one_screen(name: str) -> None:
    lines = help_of(*name.split(), "-h")
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= COLUMNS
    assert any(line.startswith("Example: ") for line in lines) or not isinstance(
        ALL.get(name), Command
    )


def test_advanced_options_are_in_the_long_help_only() -> None:
    short, long = ("\n".join(help_of("encode", flag)) for flag in ("--help", "--help-all"))
    assert "--guide-model" not in short
    for parameter in ALL["encode"].params:
        if isinstance(parameter, Option):
            assert parameter.opts[-1] in long
            assert parameter.advanced != (parameter.opts[-1] in short.split())


@pytest.mark.parametrize("name", ALL)
def test_options_say_their_defaults_and_ranges(name: str) -> None:
    for option in ALL[name].params:
        if not isinstance(option, Option) or option.is_flag:
            continue
        text = f"{option.metavar} {option.help}"
        assert option.metavar, option.opts
        amount = not NAMES.search(option.metavar)
        ranged = isinstance(option.type, (click.IntRange, click.FloatRange))
        assert not amount or ranged or re.search(r"\d|above", text), option.opts
        if isinstance(option.default, (str, int, float)) and not option.required:
            assert "default" in text.lower(), option.opts


def test_the_groups_have_titles() -> None:
    titles = [line for line in help_of("encode", "-h") if line.endswith(":") and line[0] != " "]
    assert len(titles) >= 6
    assert titles[-1] == "General:"
