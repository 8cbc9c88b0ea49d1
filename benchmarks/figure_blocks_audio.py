"""Tables of recordings from kept results; see ``figure_blocks.py``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kept import RESULTS, load, table

TITLES = {"visqol": "ViSQOL", "pesq": "PESQ", "stoi": "STOI", "log_mel": "log-mel",
          "mr_stft": "STFT", "voicing": "voice lost, %", "f0": "pitch, semitones",
          "speaker": "speaker", "words": "words, %",
          "level": "level, dB", "lines": "lines, dB"}  # fmt: skip
GROUPS = {
    "children": "children",
    "noisy": "noisy",
    "reverberant": "reverberant",
    "two": "two at once",
    "singing": "singing",
}  # beside men and women
OF_GROUPS = ("semanticodec 3 streams, 0 steps", "semanticodec --kbps 1.5", "Opus 6 kbit/s")
DIGITS = {"stoi": 3, "log_mel": 3, "mr_stft": 3, "voicing": 1, "words": 0, "lines": 1}


def audio_training() -> str:
    """Stages, steps, minutes and last held-out figures of the shipped audio model, round by
    round."""
    from laconic.codec import models
    from laconic.codec.audio.codec import SemantiCodec
    from laconic.codec.audio.semanticodec_small.model import PARTS

    def order(figure: tuple[str, float]) -> list[tuple[int, str]]:
        return [(int(part) if part.isdigit() else -1, part) for part in figure[0].split("_")]

    rounds = [models.find(SemantiCodec.default_model).training]
    while "started_from" in rounds[0]:
        rounds.insert(0, rounds[0]["started_from"])
    rows = []
    for number, runs in enumerate(rounds, start=1):
        for stage in (s for s in PARTS if s in runs):
            run = runs[stage]
            figures = {
                k: v for k, v in run["held_out"].items() if k not in ("step", "minutes", "used")
            }
            shown = ", ".join(
                f"{k.replace('_', ' ')} {v:.3f}" for k, v in sorted(figures.items(), key=order)
            )
            batch = f"{run['recipe']['batch']} x {run['recipe']['seconds']} s"
            rows.append(
                f"{number} | {stage} | {run['steps']:,} | {batch} | {run['minutes']:.0f} | {shown}"
            )
    return table("round | stage | steps | batch | minutes | on held-out recordings", rows)


def audio_rows(kind: str) -> str:
    """Recordings of one kind: ours at every rate, then other codecs."""
    found = load("audio_table")
    measures: tuple[str, ...] = (
        "visqol", "pesq", "stoi", "log_mel", "voicing", "f0", "speaker", "words", "level",
        "lines",
    )  # fmt: skip
    if kind == "other":
        measures = ("log_mel", "mr_stft", "level", "lines")
    rows = _of_kind(found, kind)
    measures = tuple(m for m in measures if any(m in r for r in rows))
    return table(
        " | ".join(["codec", "bytes", "kbit/s", *(TITLES[m] for m in measures)]),
        [
            " | ".join([r["codec"], f"{r['bytes']:,}", f"{r['kbps']:.3f}", *cells(r, measures)])
            for r in rows
        ],
    )


def _of_kind(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Rows of one kind: ours by their rate, then other codecs."""
    ours = sorted(found["ours"], key=lambda r: float(r["kbps"]))
    return [r for r in (*ours, *found["others"]) if r["kind"] == kind]


def audio_groups() -> str:
    """Voices of other kinds than those of one man or woman in silence."""
    found = load("audio_table")
    measures = ("visqol", "pesq", "stoi", "log_mel", "voicing", "f0", "speaker", "level", "lines")
    rows = [
        " | ".join([title, r["codec"], f"{r['kbps']:.3f}", *cells(r, measures)])
        for kind, title in GROUPS.items()
        for r in _of_kind(found, kind)
        if r["codec"] in OF_GROUPS
    ]
    head = " | ".join(["voices", "codec", "kbit/s", *(TITLES[m] for m in measures)])
    return table(head, rows, texts=2)


def cells(row: dict[str, Any], measures: Iterable[str]) -> list[str]:
    """Rounded figures of one row."""
    return [f"{row[m]:.{DIGITS.get(m, 2)}f}" if m in row else "-" for m in measures]


def audio_rounds() -> str:
    """Five streams of the model of each round on voices that none was trained on, first the
    measures that no training minimises anything like."""
    measures = ("visqol", "speaker", "words", "voicing", "f0", "log_mel", "pesq", "stoi")
    rows = []
    for path in sorted((RESULTS / "audio_rounds").glob("*.json")):
        found = json.loads(path.read_text())
        rows += [
            " | ".join([r["kind"], found["model"]["name"], f"{r['kbps']:.3f}", *cells(r, measures)])
            for r in found["ours"]
        ]
    head = " | ".join(["voices", "model", "kbit/s", *(TITLES[m] for m in measures)])
    return table(head, sorted(rows), texts=2)


def audio_rates() -> str:
    """Speech at about half, one and a quarter, three and six kbit/s, and others, for the README."""
    found = load("audio_table")
    speech = {k: [r for r in found[k] if r["kind"] == "speech"] for k in ("ours", "others")}
    plain = [r for r in speech["ours"] if r["codec"].endswith(" 0 steps")]
    rows = [min(plain, key=lambda r: abs(r["kbps"] - near)) for near in (0.5, 1.25, 3.0, 6.0)]
    rows += [r for r in speech["others"] if r["codec"] in ("Opus 6 kbit/s", "Codec 2 1300")]
    return table(
        "codec | kbit/s | ViSQOL | PESQ | STOI",
        [
            f"{r['codec'].removesuffix(', 0 steps')} | {r['kbps']:.2f} | {r['visqol']:.2f} |"
            f" {r['pesq']:.2f} | {r['stoi']:.2f}"
            for r in rows
        ],
    )


def audio_short() -> str:
    """The sentence on the default rate."""
    found = load("audio_table")
    ours = next(
        r
        for r in found["ours"]
        if r["kind"] == "speech" and r["codec"] == "semanticodec 5 streams, 0 steps"
    )
    opus = next(
        r for r in found["others"] if r["kind"] == "speech" and r["codec"] == "Opus 6 kbit/s"
    )
    speed = {r["step"]: r["factor"] for r in load("audio_speed")["factors"]}
    return (
        f"files of {ours['kbps']:.2f} kbit/s, headers included, at STOI {ours['stoi']:.2f}, PESQ"
        f" {ours['pesq']:.2f} and a log-mel distance of {ours['log_mel']:.2f} (Opus at"
        f" {opus['kbps']:.1f} kbit/s: {opus['stoi']:.2f}, {opus['pesq']:.2f},"
        f" {opus['log_mel']:.2f});"
        f" {speed['encode, verified']:.0f} times real time to encode,"
        f" {speed['decode']:.0f} times to decode, on one core."
    )


def audio_savings() -> str:
    """Bytes saved by the entropy coding, for each source of recordings."""
    rows = []
    for source in load("audio_table")["savings"]:
        for streams, sizes in source["streams"].items():
            share = {k: 100 * (1 - sizes[k] / sizes["fixed"]) for k in ("counts", "prior")}
            rows.append(
                f"{source['source']} ({source['sounds']} recordings), {streams} streams |"
                f" {sizes['fixed']:,} | {share['counts']:.1f} % | {share['prior']:.1f} %"
            )
    return table("recordings | bytes at fixed length | saved by counts | by prior and counts", rows)


def audio_speed() -> str:
    """Factors of real time and the memory of a long recording."""
    found = load("audio_speed")
    rows = [f"{r['step']} | {r['factor']:.1f}" for r in found["factors"]]
    rows += [f"Opus 64 kbit/s, {k} | {v:.0f}" for k, v in found["opus"].items()]
    long = found["long"]
    name = f"{long['minutes']:g} minutes, whole command"
    rows += [
        f"{name}: encode --no-verify ({long['encode_mib']:.0f} MiB) | {long['encode_factor']:.1f}",
        f"{name}: decode ({long['decode_mib']:.0f} MiB) | {long['decode_factor']:.1f}",
    ]
    return table("step | times real time", rows)
