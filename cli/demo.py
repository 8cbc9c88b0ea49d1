"""``laconic demo``."""

from __future__ import annotations

from pathlib import Path

import click

from laconic.cli import batch
from laconic.cli.options import wants_progress
from laconic.cli.tables import Table

COLUMNS = [
    ("name", "picture", ""),
    ("width", "width", ""),
    ("height", "height", ""),
    ("quality", "quality", "g"),
    ("original_bytes", "PNG bytes", ","),
    ("lac_bytes", "lac bytes", ","),
    ("bpp", "bpp", ".3f"),
    ("psnr", "PSNR dB", ".2f"),
    ("ms_ssim", "MS-SSIM", ".4f"),
    ("encode_s", "encode s", ".2f"),
    ("decode_s", "decode s", ".2f"),
]


SOUND_COLUMNS = [
    ("name", "sound", ""),
    ("seconds", "length, s", ".2f"),
    ("channels", "channels", ""),
    ("streams", "streams", ""),
    ("original_bytes", "FLAC bytes", ","),
    ("lac_bytes", "lac bytes", ","),
    ("kbps", "kbit/s", ".3f"),
    ("mel_distance", "mel distance", ".3f"),
    ("encode_s", "encode s", ".2f"),
    ("decode_s", "decode s", ".2f"),
]


@click.command("demo")
@click.option("--audio", is_flag=True, help="Sounds instead of pictures.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
)
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of PNG pictures, or of sounds.",
)
@click.option("-f", "--force", is_flag=True, help="Write into an existing folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per row.")
@click.option("--progress/--no-progress", default=None)
def command(
    audio: bool,
    out: Path,
    samples: Path | None,
    force: bool,
    as_json: bool,
    progress: bool | None,
) -> None:
    """Encode and decode the sample pictures, measure, draw them side by side; with --audio the
    sample sounds, with spectrograms."""
    from laconic.formats.errors import OutputError

    if out.exists() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} exists already: choose another folder or add -f")
    show = batch.tile_progress(wants_progress(progress), "demo")
    if audio:
        from laconic.codec.audio import demo as sounds

        heard = sounds.run(out, samples, show)
        table = Table(SOUND_COLUMNS, as_json=as_json)
        for sound in heard.rows:
            table.add(sound.to_dict())
        table.close()
        if not as_json:
            click.echo(f"spectrograms: {', '.join(map(str, heard.pictures))}")
        return
    from laconic.codec import demo

    result = demo.run(out, samples, show)
    table = Table(COLUMNS, as_json=as_json)
    for row in result.rows:
        table.add(row.to_dict())
    table.close()
    if not as_json:
        click.echo(f"side by side: {result.picture}")
