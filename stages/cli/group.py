"""The group of all commands: one is loaded when it is asked for, and what fails is said in one sentence."""

from __future__ import annotations

import importlib
import sys

import click

from tdn_data.stages.start import stop


class Commands(click.Group):
    """Commands by name, each in its module: what the others import is not waited for, nor can it be broken off."""

    def __init__(self, *args, modules: dict[str, str], **options) -> None:
        super().__init__(*args, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return one command, None for a name that is none."""
        if name not in self._modules:
            return None
        module = importlib.import_module(f"tdn_data.stages.cli.{self._modules[name]}")
        return next(command for command in module.COMMANDS if command.name == name)

    def main(self, *args, standalone_mode: bool = True, **extra):
        """Run the command line; leave with an exit code, and with one sentence on stderr where it is not 0."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            from tdn_data.stages.cli import (
                console,  # not above: who stops the program in its first moment is answered, too
            )
        except KeyboardInterrupt:
            stop()
        with console.program():
            code = _run(lambda: super(Commands, self).main(*args, standalone_mode=False, **extra))
        sys.exit(code)


def _run(invoke) -> int:
    """Return a command's exit code; what click refuses becomes one sentence that names the option."""
    try:
        return invoke() or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        from tdn_data.stages.cli import console

        context = getattr(error, "ctx", None)
        hint = f" See '{context.command_path} -h'." if context is not None else ""
        words = error.format_message().strip().rstrip(".")
        return console.fail(f"{words}{'' if words.endswith('?') else '.'}{hint}", error.exit_code)
