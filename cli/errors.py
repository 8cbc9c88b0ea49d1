"""Every error as one sentence on stderr and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

import click

from laconic.formats.errors import LaconicError
from laconic.formats.printable import printable

INTERRUPTED = 130
TERMINATED = 143


def describe(error: BaseException) -> tuple[str, int]:
    """``(sentence, exit code)`` of an error."""
    if isinstance(error, LaconicError):
        return str(error), error.exit_code
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or 'the file'} does not exist", 1
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder: expected a file", 1
    if isinstance(error, MemoryError):
        return "there is not enough memory: use smaller tiles (--tile) or fewer --jobs", 1
    if isinstance(error, OSError):
        return str(error.strerror or error), 1
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing partial was written", INTERRUPTED
    return (
        f"unexpected {type(error).__name__}: {error}; run laconic --debug ... for the traceback",
        1,
    )


def say(message: str) -> None:
    """One line on stderr; names and tags in it cannot control the terminal."""
    click.echo(printable(f"laconic: {message}"), err=True)


def run_guarded(command: click.Command) -> None:
    """Run the command line and leave the process with the documented exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say(describe(KeyboardInterrupt())[0])
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        sentence, code = describe(error)
        say(sentence)
        sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    say("terminated; nothing partial was written")
    sys.exit(TERMINATED)
