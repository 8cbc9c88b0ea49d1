"""The group ``laconic``, which imports a command when it is asked for, and the shell's completion.

Nothing heavy is imported here, so that help and completion answer at once. Errors end in one
sentence on stderr and a documented exit code (``tables.py``).
"""

from __future__ import annotations

import gc
from difflib import get_close_matches
from importlib import import_module

import click
from click.shell_completion import get_completion_class

from laconic.cli.tables import run_guarded

COMMANDS = {  # module of ``laconic.cli`` and function; help
    "encode": (
        "encode:command",
        "Encode images, recordings, videos, tables and arrays into .lac files.",
    ),
    "decode": ("decode:command", "Decode .lac files."),
    "info": ("info:info", "Show what the header of a file says."),
    "verify": ("info:verify", "Decode files and check every symbol."),
    "models": ("models:command", "List, show, import and export models."),
    "eval": ("eval:command", "Measure and compare codecs."),
    "train": ("train:command", "Train a model."),
    "demo": ("demo:command", "Encode and decode the samples: images, recordings, or a video."),
    "completion": ("main:completion", "Print the script for shell completion."),
}

OBJECTS = 20_000  # made between two collections of garbage


class LazyGroup(click.Group):
    """Loads the module of a command on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, function = COMMANDS[name][0].split(":")
        command: click.Command = getattr(import_module(f"laconic.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        close = get_close_matches(args[0], COMMANDS, 1) if args[0] not in COMMANDS else []
        if close:
            ctx.fail(f"no such command {args[0]!r}: did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--debug", is_flag=True, help="Show the traceback of unexpected errors.")
@click.version_option(package_name="laconic", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Learned codecs for images, video and audio.

    Exit codes: 0 ok, 1 other error, 2 usage, 3 damaged or truncated file, 4 model missing or wrong,
    5 limit exceeded, 6 unsupported, 130 interrupted.
    """
    ctx.obj = {"debug": debug}


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, codecs and models.

    For bash: add  eval "$(laconic completion bash)"  to ~/.bashrc.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "laconic", "_LACONIC_COMPLETE").source())


def main() -> None:
    """Entry point of the console script.

    What imports make lives until the end: looking through it for garbage after every 700 objects
    takes a tenth of a start.
    """
    gc.set_threshold(OBJECTS)
    run_guarded(cli)
