"""CompressAI's own evaluation runs on our model."""

import json
from pathlib import Path

import pytest
from pictures import scene
from PIL import Image as Pillow


def test_the_evaluation_of_compressai_runs_on_the_default_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("compressai.utils.eval_model")
    from laconic.codec.image.compressai.bridge import NAME, main

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Pillow.fromarray(scene(192, 200)).save(pictures / "a.png")

    main(["pretrained", str(pictures), "-a", NAME, "-q", "2,6", "-d", str(tmp_path / "out")])

    (report,) = (tmp_path / "out").glob("*.json")
    results = json.loads(report.read_text())["results"]
    assert results["bpp"] == sorted(results["bpp"])
    assert results["psnr-rgb"] == sorted(results["psnr-rgb"])
    assert min(results["psnr-rgb"]) > 24
    assert capsys.readouterr().out


def test_our_model_is_in_the_registry_of_compressai() -> None:
    registry = pytest.importorskip("compressai.registry")
    from laconic.codec.image.compressai.bridge import NAME, EvaluatedModel

    assert registry.MODELS[NAME] is EvaluatedModel


@pytest.mark.parametrize("name", ["test-mlicpp", "test-mean-vbr"])
def test_the_evaluation_of_compressai_runs_on_imported_models(
    name: str, rule_models: Path, tmp_path: Path
) -> None:
    pytest.importorskip("compressai.utils.eval_model")
    from laconic.codec.image.compressai.bridge import main

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Pillow.fromarray(scene(192, 192)).save(pictures / "a.png")

    main(["pretrained", str(pictures), "-a", f"{name}@laconic", "-d", str(tmp_path / "out")])

    (report,) = (tmp_path / "out").glob("*.json")
    assert json.loads(report.read_text())["results"]["bpp"][0] > 0
