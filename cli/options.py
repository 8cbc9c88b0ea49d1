"""Options of commands: those that several share, and flags made from what codecs declare.

Nothing about a codec is written down here: its options (``laconic.codec.options``) say what a flag
is called, takes and defaults to, and the media of the codecs that have it say where the help lists
it, in groups that name every range and default.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from laconic.codec import media, registry
from laconic.codec.base import RATES, EncodeSettings
from laconic.codec.options import Option, declared

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}
MANY = "one for each core with many inputs, else 1"
ITEMS = f"Inputs at a time; of a single fitted video its chunks.  [default: {MANY}]"
RATE, SEVERAL, OUTPUT, OTHER = "Rate", "Several media", "Output", "Others"
SPELLED = {  # option -> flags, where they are not --option
    "quality": ("-q", "--quality"),
    "kbps": ("--kbps", "--bitrate"),
    "target_bytes": ("--target-size",),
}


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


class Flag(click.Option):
    """An option with the heading under which the help lists it."""

    def __init__(self, *arguments: Any, group: str = OTHER, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group = group


class GroupedCommand(click.Command):
    """Help in groups, in the order in which they are first used; examples at the end."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in sorted(self.get_params(ctx), key=lambda p: not isinstance(p, Flag)):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", OTHER), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write_text(line)


class Value(click.ParamType[Any]):
    """A value that at least one of the codecs which have an option allows."""

    def __init__(self, options: Sequence[Option]) -> None:
        self.options = options
        first = options[0]
        self.name = (
            "|".join(first.choices) or first.unit or {int: "n", float: "x"}.get(first.kind, "text")
        )

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self.name if "|" in self.name else self.name.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        wrong = ""
        for option in self.options:
            try:
                number = option.kind(value) if option.kind in (int, float) else value
                return option.checked(number)
            except ValueError:
                wrong = wrong or f"{value!r} is not {option.expected}"
        return self.fail(wrong, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        found = [c for c in self.options[0].choices if c.startswith(incomplete)]
        return [click.shell_completion.CompletionItem(c) for c in found]


def flag_of(options: Sequence[Option], group: str, who: str = "", kind: Any = None) -> Flag:
    """The flag of an option that several codecs may declare, each with a default of its own."""
    first = options[0]
    names = SPELLED.get(first.name, (f"--{first.name.replace('_', '-')}",))
    shown = list(dict.fromkeys(default_of(o) for o in options))
    notes = [f"default: {' or '.join(s for s in shown if s)}"] if any(shown) else []
    ranges = list(dict.fromkeys(f"{o.low} to {o.high}" for o in options if o.high is not None))
    if ranges:
        notes.insert(0, " or ".join(ranges))
    if who:
        notes.append(who)
    help_ = f"{first.help}  [{'; '.join(notes)}]" if notes else first.help
    settings: dict[str, Any] = {"help": help_, "default": None, "group": group}
    if first.kind is not bool:
        return Flag([*names, first.name], type=kind or Value(options), **settings)
    if first.default:
        return Flag([f"{names[0]}/--no-{names[0][2:]}", first.name], **settings)
    return Flag([names[0], first.name], is_flag=True, **settings)


def default_of(option: Option) -> str:
    """The default in words, "" for none."""
    if option.shown:
        return option.shown
    if option.kind is bool:
        spelled = option.name.replace("_", "-")
        return spelled if option.default else ""
    return "" if option.default is None else str(option.default)


def shared(names: Iterable[str], group: str, kinds: dict[str, Any]) -> Callable[..., Any]:
    """Decorator: flags of settings that every codec is given."""
    found = declared(EncodeSettings)
    return _decorated([flag_of([found[n]], group, _rated(n), kinds.get(n)) for n in names])


def _rated(name: str) -> str:
    """Whose rate it is."""
    whose = [m.plural for m in media.MEDIA if name in m.rates]
    return ", ".join(whose) if name in RATES else ""


def codec_flags(*, decoding: bool = False) -> Callable[..., Any]:
    """Decorator: the flags of everything that codecs declare, by medium."""
    flags: dict[str, list[Flag]] = {SEVERAL: [], **{m.plural.capitalize(): [] for m in media.MEDIA}}
    for name, (_, codecs) in registry.options(decoding=decoding).items():
        kind = [declared(c.decode_options if decoding else c.options)[name] for c in codecs]
        if not kind[0].flag:
            continue
        owners = list(dict.fromkeys(media.of(c.media) for c in codecs))
        several = len(owners) > 1
        group = SEVERAL if several else owners[0].plural.capitalize()
        who = ", ".join(m.plural for m in owners) if several else ""
        flags[group].append(flag_of(kind, group, who))
    return _decorated([flag for group in flags.values() for flag in group])


def codec_options(options: dict[str, Any], *, decoding: bool = False) -> dict[str, Any]:
    """Those of a command's options that codecs declare; None where they were not given."""
    found = registry.options(decoding=decoding)
    return {name: options[name] for name, (option, _) in found.items() if option.flag}


def _decorated(flags: Sequence[Flag]) -> Callable[..., Any]:
    def decorate(function: Any) -> Any:
        made = function.__dict__.setdefault("__click_params__", [])
        made.extend(reversed(flags))
        return function

    return decorate


def output(*names: str, **settings: Any) -> Callable[..., Any]:
    """A flag on outputs."""
    return click.option(*names, cls=Flag, group=OUTPUT, **settings)


def formats() -> str:
    """The formats that ``decode`` writes, for its help."""
    return "; ".join(", ".join(m.formats) for m in media.MEDIA) + "."
