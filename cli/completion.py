"""``laconic completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes commands, options, codecs and models.

    For bash: add  eval "$(laconic completion bash)"  to ~/.bashrc.
    """
    from laconic.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "laconic", "_LACONIC_COMPLETE").source())
