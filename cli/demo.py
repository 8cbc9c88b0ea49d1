"""``laconic demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from laconic.cli.options import wants_progress
from laconic.cli.tables import Table, WorkProgress, tile_progress

COLUMNS = [
    ("name", "image", ""),
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

VIDEO_COLUMNS = [
    ("name", "video", ""),
    ("width", "width", ""),
    ("height", "height", ""),
    ("frames", "frames", ""),
    ("original_bytes", "source bytes", ","),
    ("lac_bytes", "lac bytes", ","),
    ("bpp", "bpp", ".4f"),
    ("psnr", "PSNR dB", ".2f"),
    ("ms_ssim", "MS-SSIM", ".4f"),
    ("encode_s", "encode s", ".1f"),
    ("cpu_s", "CPU s", ".1f"),
    ("fps", "decode fps", ".1f"),
]


AUDIO_COLUMNS = [
    ("name", "recording", ""),
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
@click.option("--audio", is_flag=True, help="Recordings instead of images.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
)
@click.option(
    "--samples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of PNG images, of videos or of recordings.",
)
@click.option("--video", is_flag=True, help="Encode the sample video instead: some minutes.")
@click.option("-f", "--force", is_flag=True, help="Write into an existing folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per row.")
@click.option("--progress/--no-progress", default=None)
def command(
    audio: bool,
    out: Path,
    samples: Path | None,
    video: bool,
    force: bool,
    as_json: bool,
    progress: bool | None,
) -> None:
    """Encode and decode the sample images, measure, draw them side by side.

    With --video the sample video, with a contact sheet: originals above, decoded frames below; with
    --audio the sample recordings, with spectrograms.
    """
    from laconic.formats.errors import OutputError, ParameterError

    if video and audio:
        raise ParameterError("--video and --audio exclude each other: give one of them")
    if out.exists() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} exists already: choose another folder or add -f")
    show = wants_progress(progress)
    rows: list[Any]
    if video:
        from laconic.codec import demo

        bar = WorkProgress("fitting")
        draw, note = (bar.draw, bar.note) if show else (None, None)
        videos = demo.run_video(out, samples, progress=draw, status=note)
        columns, rows, said = VIDEO_COLUMNS, [*videos.rows], f"contact sheet: {videos.sheet}"
    elif audio:
        from laconic.codec.audio import demo as demo_audio

        heard = demo_audio.run(out, samples, tile_progress(show, "demo"))
        columns, rows = AUDIO_COLUMNS, [*heard.rows]
        said = f"spectrograms: {', '.join(map(str, heard.sheets))}"
    else:
        from laconic.codec import demo

        result = demo.run(out, samples, tile_progress(show, "demo"))
        columns, rows, said = COLUMNS, [*result.rows], f"side by side: {result.sheet}"
    table = Table(columns, as_json=as_json)
    for row in rows:
        table.add(row.to_dict())
    table.close()
    if not as_json:
        click.echo(said)
