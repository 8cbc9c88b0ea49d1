"""Channel importance from parameters: definition, every kind of model, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import scene
from PIL import Image as Pillow

from laconic.cli.main import cli
from laconic.codec import models, registry
from laconic.codec.image.codecs import ImageCodec
from laconic.codec.image.reorder import (
    Filters,
    concentration,
    energies,
    filters_of,
    order,
    rank_correlation,
)
from laconic.formats.errors import ParameterError


def filters(magnitudes: list[float], seed: int = 0) -> Filters:
    rng = np.random.default_rng(seed)
    size = (len(magnitudes), 400)
    scale = np.array(magnitudes)[:, None]
    return Filters(rng.normal(size=size) * scale, np.zeros(size[0]), rng.normal(size=size))


def test_channels_are_ordered_by_what_their_filters_carry() -> None:
    found = order(filters([0.1, 4.0, 0.01, 1.0]))

    assert found.permutation == [1, 3, 0, 2]
    assert found.core == 1
    assert sorted(found.groups[0]) == [0, 2, 3]


def test_biases_count_and_silent_channels_come_last() -> None:
    base = filters([1.0, 1.0, 1.0, 0.0])
    same = np.repeat(base.analysis[:1], 3, 0)
    equal = Filters(
        np.vstack((same, base.analysis[3:])),
        np.array([0.0, 2.0, 0.5, 0.0]),
        np.repeat(base.synthesis[:1], 4, 0),
    )

    assert order(equal).permutation == [1, 2, 0, 3]


def test_core_and_groups_hold_every_channel_once_and_follow_correlation() -> None:
    rng = np.random.default_rng(1)
    salient = rng.normal(size=(20, 300)) * 5
    faint = salient[[3, 3, 18]] * 0.01 + rng.normal(size=(3, 300)) * 0.001
    found = order(Filters(np.vstack((salient, faint)), np.zeros(23), rng.normal(size=(23, 50))))

    core = found.permutation[: found.core]
    assert sorted(core + [c for g in found.groups for c in g]) == list(range(23))
    assert sum(found.slices) == found.core
    starts = np.cumsum([0, *found.slices])
    for channel, like in ((20, 3), (21, 3), (22, 18)):
        if like in core:
            group = int(np.searchsorted(starts, core.index(like), side="right")) - 1
            assert channel in found.groups[group]


def test_rank_correlation_and_concentration() -> None:
    values = np.array([5.0, 1.0, 3.0, 9.0])

    assert rank_correlation(values, values**3) == pytest.approx(1.0)
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
    assert concentration(values, [3, 0, 2, 1])[-1] == pytest.approx(1.0)
    assert concentration(values, [3, 0, 2, 1])[4] == pytest.approx(14 / 18)


def test_every_kind_of_model_has_an_order(rule_models: Path) -> None:
    seen = 0
    for info in models.list_models():
        codec = registry.get(info.codec)
        if not isinstance(codec, ImageCodec):
            continue
        seen += 1
        model = codec.load(info.id)
        found = order(filters_of(model))
        assert sorted(found.permutation) == list(range(model.channels)), info.name
    assert seen >= 10


def test_pictures_too_small_to_measure_are_refused(rule_models: Path) -> None:
    codec = registry.get("mlic")
    assert isinstance(codec, ImageCodec)
    with pytest.raises(ParameterError, match="no image of at least 64 x 64"):
        energies(codec.load(None), [], 50)


def test_the_command_reports_and_draws(tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    Pillow.fromarray(scene(96, 130)).save(pictures / "a.png")
    out = tmp_path / "report.json"

    result = CliRunner().invoke(
        cli,
        ["models", "order", models.DEFAULT_MODEL, "--pictures", str(pictures), "-o", str(out)],
        standalone_mode=False,
    )

    assert result.exit_code == 0, result.output
    about = json.loads(out.read_text())
    assert len(about["permutation"]) == len(about["measured"]["energy"]) == 320
    assert -1 <= about["measured"]["rank_correlation"] <= 1
    assert "rank correlation" in result.output
    assert Pillow.open(out.with_suffix(".png")).size[0] > 300


def test_the_command_names_models_that_have_no_latent_channels() -> None:
    result = CliRunner().invoke(cli, ["models", "order", "photo"], standalone_mode=False)

    assert isinstance(result.exception, ParameterError)
    assert "of the codec photo, which has no latent channels" in str(result.exception)
