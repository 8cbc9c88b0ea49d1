"""Options that commands share, and their values."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}


class ByteSize(click.ParamType[int]):
    """A size such as 40kB (1000), 40KiB (1024), 1.5MB or 40000."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
        if not match or match[2].upper() not in UNITS:
            self.fail(f"{value!r} is not a size: write 40kB (1000 bytes), 40KiB (1024) or 40000")
        return int(float(match[1]) * UNITS[match[2].upper()])


class Region(click.ParamType[tuple[int, int, int, int]]):
    """A rectangle X,Y,WIDTH,HEIGHT."""

    name = "x,y,width,height"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        parts = str(value).split(",")
        if len(parts) != 4 or not all(p.strip().isdigit() for p in parts):
            self.fail(f"{value!r} is not a region: write X,Y,WIDTH,HEIGHT in pixels")
        x, y, width, height = map(int, parts)
        return x, y, width, height


class Range(click.ParamType[tuple[Any, Any]]):
    """FIRST:END of rows, frames or seconds, counted from 0, the end not included."""

    name = "first:end"

    def __init__(self, what: str, kind: type[int] | type[float]) -> None:
        self.what, self.kind = what, kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, Any]:
        number = r"\d+" if self.kind is int else r"\d+(?:\.\d+)?"
        match = re.fullmatch(rf"\s*({number}):({number})\s*", str(value))
        if not match or self.kind(match[2]) < self.kind(match[1]):
            self.fail(f"{value!r} is no range of {self.what}: write FIRST:END such as 100:200")
        return self.kind(match[1]), self.kind(match[2])


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """--json, --quiet, --progress, --limit-pixels."""
    for option in (
        click.option("--limit-pixels", type=click.IntRange(1), help="Refuse larger images."),
        click.option(
            "--progress/--no-progress",
            default=None,
            help="Bars on stderr (default: on a terminal).",
        ),
        click.option("--quiet", is_flag=True, help="No table."),
        click.option(
            "--json", "as_json", is_flag=True, help="One JSON object per input on stdout."
        ),
    ):
        function = option(function)
    return function


MANY = "one for each core with many inputs, else 1"
ITEMS = f"Inputs at a time; of a single fitted video its chunks.  [default: {MANY}]"


def spreading(*, jobs: str = ITEMS, manifest: bool = True) -> Callable[..., Any]:
    """Decorator: --jobs, --threads, --engine, --address and, if wanted, --manifest."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        found = [
            click.option(
                "-j", "--jobs", type=click.IntRange(1), help=jobs,
            ),
            click.option(
                "--threads", type=click.IntRange(1),
                help="Threads of each job.  [default: the cores divided by --jobs; on Ray 1]",
            ),
            click.option(
                "--engine", type=click.Choice(["local", "ray"]),
                help="Where the work is done; on Ray --jobs bounds what is in flight.  [default:"
                " local]",
            ),
            click.option(
                "--address", metavar="HOST:PORT",
                help="Of the Ray cluster.  [default: RAY_ADDRESS, else this machine]",
            ),
        ]  # fmt: skip
        if manifest:
            found.append(
                click.option(
                    "--manifest", type=click.Path(dir_okay=False),
                    help="File of JSON lines with the result of each input; the same command goes"
                    " on from it.",
                )
            )  # fmt: skip
        for option in reversed(found):
            function = option(function)
        return function

    return decorate


def wants_progress(progress: bool | None) -> bool:
    """Whether bars are drawn."""
    return sys.stderr.isatty() if progress is None else progress


def limits_of(pixels: int | None) -> Any:
    """Limits with another number of pixels."""
    from laconic.formats.errors import DEFAULT_LIMITS, Limits

    return DEFAULT_LIMITS if pixels is None else Limits(pixels=pixels)


def complete_codec(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names of codecs that begin with ``text``."""
    from laconic.codec import registry

    return [n for n in registry.names() if n.startswith(text)]


def complete_model(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names of installed models that begin with ``text``."""
    from laconic.codec import models

    return [m.name for m in models.list_models() if m.name.startswith(text)]


def complete_subject(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Names of codecs and baselines that begin with ``text``."""
    from laconic.codec import registry
    from laconic.codec.evaluate.subject import baseline_names

    return [n for n in (*registry.names(), *baseline_names()) if n.startswith(text)]
