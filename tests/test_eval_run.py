"""Evaluation runs on real files: what they measure, resume, repeat and refuse."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pictures import scene
from PIL import Image as Pillow

from laconic.cli.main import cli
from laconic.codec.engines import Processes
from laconic.codec.evaluate import Config, evaluate, psnr
from laconic.codec.evaluate.baselines import tables
from laconic.codec.evaluate.metrics import choose
from laconic.codec.evaluate.runner import measure
from laconic.codec.evaluate.subject import Item, find_items, parse_spec
from laconic.formats.container import Media
from laconic.formats.errors import LaconicError, ParameterError
from laconic.formats.image import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    Pillow.fromarray(scene(176, 200)).save(folder / "a.png")
    Pillow.fromarray(scene(180, 170, seed=3)).save(folder / "below" / "b.png")
    Pillow.fromarray(scene(170, 170, 1)[..., 0]).save(folder / "gray.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, arguments)], standalone_mode=False)


def measurements(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "results.json").read_text())["measurements"]
    return rows


def test_rates_are_sizes_of_files_and_psnr_is_that_of_the_decoded_files(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"

    result = run(photos, "-c", "jpeg@444:30,80", "-c", "webp:50", "--out", out)

    assert result.return_value == 0, result.output
    rows = measurements(out)
    assert len(rows) == 9
    for row in rows:
        suffix = ".jpg" if row["codec"] == "jpeg@444" else ".webp"
        stream = out / "streams" / row["codec"] / f"{row['item']}.q{row['quality']:g}{suffix}"
        original = Pillow.open(photos / row["item"])
        assert row["bytes"] == stream.stat().st_size
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / (original.width * original.height))
        decoded = np.asarray(Pillow.open(stream).convert(original.mode))
        assert row["psnr"] == pytest.approx(psnr(np.asarray(original), decoded))
        assert 0.5 < row["ms-ssim"] < 1
    gray = next(r for r in rows if r["item"] == "gray.png")
    assert gray["bits_per_sample"] == gray["bpp"]
    with (out / "measurements.csv").open() as file:
        assert [float(r["bpp"]) for r in csv.DictReader(file)] == [r["bpp"] for r in rows]


def test_the_shipped_codec_is_measured_beside_the_baselines(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    result = run(photos / "a.png", "-c", "mlic:20,80", "-c", "jpeg:20,80", "--out", out)

    assert result.return_value == 0, result.output
    low, high = (r for r in measurements(out) if r["codec"] == "mlic")
    assert low["bytes"] < high["bytes"]
    assert low["psnr"] < high["psnr"]
    described = json.loads((out / "results.json").read_text())["subjects"]
    assert len(described["mlic"]["model_id"]) == 12
    assert "libjpeg" in described["jpeg"]["library"]


class Hungry:
    """A codec that takes so many MiB while it decodes."""

    label, media, suffix = "hungry", Media.IMAGE, ".raw"

    def __init__(self, mib: int) -> None:
        self.mib = mib

    def encode(self, item: Item, quality: float | None) -> bytes:
        return b"x"

    def decode(self, data: bytes, item: Item) -> Image:
        taken = [bytes([n % 256]) * (1 << 16) for n in range(16 * self.mib)]
        return Image(np.full_like(item.original.pixels, len(taken) % 2))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux")
def test_memory_of_a_codec_is_not_hidden_by_those_before_nor_that_of_metrics(photos: Path) -> None:
    item, wanted = find_items([photos / "a.png"])[0], choose(["ms-ssim"], Media.IMAGE)
    found = [measure(Hungry(mib), item, None, wanted)[0]["memory_mib"] for mib in (300, 0, 100)]

    assert found[0] > 250
    assert found[1] < 25
    assert 75 < found[2] < 160


def test_lossless_codecs_have_one_exact_point(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    result = run(photos, "-c", "png", "-c", "jxl-lossless", "--out", out)

    assert result.return_value == 0, result.output
    assert len(measurements(out)) == 6
    assert all(row["exact"] and row["quality"] is None for row in measurements(out))
    assert "exact" in result.output


def test_what_is_finished_is_not_computed_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, "-c", "jpeg:30", "--out", out)
    before = {p: p.stat().st_mtime_ns for p in (out / "streams").rglob("*.jpg")}

    run(photos, "-c", "jpeg:30,60", "-c", "webp:40", "--out", out)

    after = {p: p.stat().st_mtime_ns for p in (out / "streams").rglob("*.jpg")}
    assert {p: after[p] for p in before} == before
    assert len(after) == 2 * len(before)
    assert len(measurements(out)) == 9


def test_a_changed_picture_is_measured_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, "-c", "jpeg:30", "--out", out)
    before = {r["item"]: r["bytes"] for r in measurements(out)}
    Pillow.fromarray(scene(176, 200, seed=9)).save(photos / "a.png")

    run(photos, "-c", "jpeg:30", "--out", out)

    after = {r["item"]: r["bytes"] for r in measurements(out)}
    assert [name for name in before if before[name] != after[name]] == ["a.png"]


def test_a_journal_cut_by_an_interruption_is_continued(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, "-c", "jpeg:30,60", "--out", out)
    whole = [(r["item"], r["bytes"]) for r in measurements(out)]
    journal = out / "measurements.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])

    result = run(photos, "-c", "jpeg:30,60", "--out", out)

    assert result.return_value == 0
    assert [(r["item"], r["bytes"]) for r in measurements(out)] == whole
    assert len(journal.read_text().splitlines()) == len(whole)


def test_a_configuration_repeats_the_numbers(photos: Path, tmp_path: Path) -> None:
    run(photos, "-c", "jpeg:30,60", "-c", "avif:40", "-m", "psnr-y", "--out", tmp_path / "one")

    result = run("--config", tmp_path / "one" / "config.json", "--out", tmp_path / "two")

    assert result.return_value == 0, result.output
    one, two = (
        [{k: v for k, v in r.items() if not k.endswith(("_s", "_mib"))} for r in rows]
        for rows in (measurements(tmp_path / "one"), measurements(tmp_path / "two"))
    )
    assert one == two
    assert all("psnr-y" in row and "psnr" not in row for row in one)


def test_several_jobs_give_the_same_numbers_in_the_same_order(photos: Path, tmp_path: Path) -> None:
    config = Config((str(photos),), ("jpeg:30,60", "webp:40"))

    alone = evaluate(config, tmp_path / "one")
    together = evaluate(config, tmp_path / "two", engine=Processes(2, 1))

    keys = ("codec", "item", "quality", "bytes", "psnr")
    assert [[r[k] for k in keys] for r in alone.rows] == [
        [r[k] for k in keys] for r in together.rows
    ]


def test_an_unreadable_picture_is_reported_and_the_others_go_on(
    photos: Path, tmp_path: Path
) -> None:
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "run"

    result = run(photos, "-c", "jpeg:30,60", "--out", out)

    assert result.return_value == 1
    assert "cut.png with jpeg" in result.stderr
    assert {r["item"] for r in measurements(out)} == {"a.png", "below/b.png", "gray.png"}
    assert json.loads((out / "results.json").read_text())["complete_items"] == [
        "a.png", "below/b.png", "gray.png",
    ]  # fmt: skip


def test_means_leave_out_items_that_one_codec_failed_on(photos: Path, tmp_path: Path) -> None:
    deep = (scene(176, 200).astype(np.uint16) * 257)[..., 0]
    Pillow.fromarray(deep).save(photos / "deep.png")  # 16 bits, which the baselines refuse
    out = tmp_path / "run"

    result = run(photos, "-c", "mlic:30", "-c", "jpeg:30", "--out", out)

    assert result.return_value == 1
    assert "deep.png with jpeg" in result.stderr
    assert "8-bit" in result.stderr
    curve = json.loads((out / "curves" / "mlic.json").read_text())["results"]
    rows = [r for r in measurements(out) if r["codec"] == "mlic"]
    assert len(rows) == 4
    assert curve["bpp"] == [
        pytest.approx(np.mean([r["bpp"] for r in rows if r["item"] != "deep.png"]))
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-c", "nothing"], "there is no codec 'nothing'"),
        (["-c", "jpeg@411"], "has no variant '411'"),
        (["-c", "jpeg:30,30"], "names a quality twice"),
        (["-c", "jpeg", "-c", "jpeg:20"], "named twice"),
        (["-c", "jpeg", "-m", "beauty"], "no metric 'beauty' for images"),
        (["-c", "jpeg", "-m", "si-sdr"], "no metric 'si-sdr' for images"),
        (["-c", "opus"], "codes audio files"),
        (["-c", "jpeg", "--media", "video"], "no video was found"),
    ],
)
def test_bad_requests_are_refused_before_any_work(
    photos: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    result = run(photos, *arguments, "--out", tmp_path / "run")

    assert isinstance(result.exception, LaconicError)
    assert result.exception.exit_code == 2
    assert sentence in str(result.exception)
    assert not (tmp_path / "run" / "streams").exists()


def test_empty_and_mixed_folders_are_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="no image, recording, video or table was found"):
        evaluate(Config((str(tmp_path / "empty"),), ("jpeg",)), tmp_path / "run")

    (photos / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(ParameterError, match=r"3 image, 1 audio files\): choose one with --media"):
        evaluate(Config((str(photos),), ("jpeg",)), tmp_path / "run")
    assert evaluate(Config((str(photos),), ("jpeg:9",), (), "image"), tmp_path / "run").rows


def test_files_of_one_name_in_two_folders_stay_apart(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Pillow.fromarray(scene(64, 64, seed=5)).save(other / "a.png")

    result = evaluate(Config((str(photos), str(other)), ("jpeg:30",)), tmp_path / "run")

    assert len({row["item"] for row in result.rows}) == 4
    assert not result.failures


def test_specifications_are_parsed_or_refused() -> None:
    assert parse_spec("mlic").label == "mlic"
    assert parse_spec("x264@slow:20, 30").qualities == (20.0, 30.0)
    for text in ("", "a@", "a:x", "a:1,,2", "a b"):
        with pytest.raises(ParameterError):
            parse_spec(text)


@pytest.mark.parametrize("spec", ["jpeg:500", "avif:-1", "png:50", "photo:50", "mlic:101"])
def test_qualities_that_a_codec_does_not_have_are_refused(
    photos: Path, tmp_path: Path, spec: str
) -> None:
    with pytest.raises(ParameterError, match=r"expected|one rate"):
        evaluate(Config((str(photos),), (spec,)), tmp_path / "run")


def test_tables_are_evaluated_beside_general_compressors(tmp_path: Path) -> None:
    for n in range(2):
        rows = [b"%d,%s\n" % (i % 7, b"north" if i % 3 else b"south") for i in range(200 + n)]
        (tmp_path / f"{n}.csv").write_bytes(b"a,b\n" + b"".join(rows))

    result = run(tmp_path, "-c", "records", "-c", "xz", "-c", "gzip", "--out", tmp_path / "run")

    assert result.return_value == 0, result.output
    for row in measurements(tmp_path / "run"):
        assert row["exact"]
        cells = 2 * (200 + int(row["item"][0]))
        assert row["bits_per_cell"] == pytest.approx(8 * row["bytes"] / cells)
    assert "bits per cell" in result.output


def test_equal_files_of_different_names_are_different_items(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        Pillow.fromarray(scene(24, 24)).save(tmp_path / "photos" / f"{name}.png")
    line = ["eval", str(tmp_path / "photos"), "-c", "jpeg:50", "--out", str(tmp_path / "run")]
    for _ in range(2):  # the second time from the journal
        result = CliRunner().invoke(cli, line, standalone_mode=False)
        assert result.return_value == 0, result.output
        assert [m["item"] for m in measurements(tmp_path / "run")] == ["a.png", "b.png"]
        assert len(list((tmp_path / "run" / "streams").rglob("*.jpg"))) == 2


@pytest.mark.parametrize(
    "data",
    [b"a,b\n" + b"1,x\n2,yy\n" * 50, b"a,b\n1\n", b"a,b\n1,2", b"a\r\n,\r\n", b"\n\n", b"x", b""],
    ids=["columns", "ragged", "no end", "one column", "empty lines", "one cell", "nothing"],
)
def test_openzl_gives_every_table_back(data: bytes) -> None:
    pytest.importorskip("openzl", reason="needs openzl: laconic[eval]")

    coded = tables.openzl_compress(data)

    assert tables.openzl_decompress(coded) == data
