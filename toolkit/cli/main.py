"""`tk`: the table of commands, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import IO, Any

import click

import toolkit
from toolkit.errors import TkError

COMMANDS = (
    "license-check",
    "licenses",
    "audit",
    "plan",
    "finetune",
    "launch",
    "chat",
    "export",
    "runs",
    "card",
    "release",
    "verify",
    "doctor",
)


class Shown(click.ClickException):
    """A domain error as the terminal shows it: what, where, what next."""

    def __init__(self, error: TkError) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code = error.exit_code  # type: ignore[misc]  # click declares it for the class, and reads the instance

    def show(self, file: IO[Any] | None = None) -> None:
        where = f" ({self.error.where})" if self.error.where else ""
        click.echo(f"Error: {self.error.message}{where}", err=True)
        if self.error.hint:
            click.echo(f"  Next: {self.error.hint}", err=True)


class Commands(click.Group):
    """Loads a command's file when it is called or listed, and turns domain errors into what the terminal shows."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"toolkit.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from toolkit.files.schema import did_you_mean

            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TkError as error:
            if _debugging():
                import traceback

                traceback.print_exc()
            raise Shown(error) from error
        except KeyboardInterrupt as error:
            hint = "the same command starts again, or goes on from the last checkpoint of a training"
            raise Shown(TkError("interrupted", hint=hint)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            if _debugging():
                raise
            where = str(error.filename) if error.filename else None
            raise Shown(TkError(f"the system refused: {error.strerror or error}", where=where)) from error
        except Exception as error:
            if _debugging():
                raise
            reason = str(error).strip().splitlines()[:1]
            text = f"{type(error).__name__}: {reason[0] if reason else 'no further words'}"
            hint = "this is a defect of tk; TK_DEBUG=1 shows where it happened"
            raise Shown(TkError(text, hint=hint)) from error


def _debugging() -> bool:
    return os.environ.get("TK_DEBUG", "") not in ("", "0")


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(toolkit.__version__, prog_name="tk")
def tk() -> None:
    """Check licences, fine-tune open-weight models, and release them with their proof.

    \b
    Examples:
      tk license-check Qwen/Qwen2.5-7B-Instruct --distribution internal --commercial
      tk finetune recipes/embedded-qwen-lora.yaml
    """


def main() -> None:
    """Entry point of the `tk` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 still gets its verdict
    tk.main(prog_name="tk")
