"""Both wheels, built and installed as users have them, in an environment of their own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import textured
from PIL import Image as Pillow

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SOURCES = ("cli", "codec", "entropy", "formats", "LICENSE", "README.md", "pyproject.toml")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(command: list[str], cwd: Path, expected: int = 0) -> str:
    """Output of a command, in an environment that knows nothing of the checkout."""
    hidden = ("PYTHONPATH", "LACONIC_MODELS", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {"LACONIC_NO_JIT": "1", "HOME": str(cwd)}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels by name, built from copies: a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("wheels")
    source = folder / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    run([*build, str(source)], folder)
    run([*build, str(source / "codec" / "models_extra")], folder)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def test_the_main_wheel_has_no_model_of_the_second(wheels: dict[str, Path]) -> None:
    names = {k: zipfile.ZipFile(path).namelist() for k, path in wheels.items()}
    held = {k: {Path(n).name for n in v if n.endswith(".safetensors")} for k, v in names.items()}

    assert set(held) == {"laconic", "laconic_models_extra"}
    assert wheels["laconic"].stat().st_size < 40e6
    assert all(p.stat().st_size < 30e6 for p in ROOT.glob("codec/*/weights/*.safetensors"))
    assert held["laconic"] == {p.name for p in ROOT.glob("codec/*/weights/*.safetensors")} - {
        p.name for p in ROOT.glob("codec/models_extra/weights/*.safetensors")
    }
    extra = {p.name for p in ROOT.glob("codec/models_extra/weights/*.safetensors")}
    assert held["laconic_models_extra"] == extra
    modules = {n for n in names["laconic"] if n.endswith((".py", ".npz", ".html", "py.typed"))}
    for package in ("cli", "codec", "entropy", "formats"):
        for path in (ROOT / package).rglob("*.py"):
            assert f"laconic/{path.relative_to(ROOT).as_posix()}" in modules, path
    assert not [n for n in names["laconic_models_extra"] if n.endswith(".py")]


def test_wheels_work_in_an_environment_of_their_own(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    python = str(tmp_path / "env" / "bin" / "python")
    run([sys.executable, "-m", "venv", "--without-pip", "env"], tmp_path)
    into = [*PIP, "--python", python, "install", "--no-deps", "--no-index"]
    run([*into, str(wheels["laconic"])], tmp_path)
    site = tmp_path / "env" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    outside = [p for p in sys.path if Path(p).name == "site-packages"]
    dependencies = site / "dependencies.pth"  # what pip would have downloaded
    dependencies.write_text("\n".join(outside))
    laconic = [python, "-m", "laconic.cli"]

    where = run([python, "-c", "import laconic.codec as c; print(c.__file__)"], tmp_path)
    assert where.startswith(str(site))

    Pillow.fromarray(textured(40, 48).pixels).save(tmp_path / "photo.png")
    (tmp_path / "table.csv").write_bytes(b"a,b\n" + b"1,x\n2,y\n" * 40)
    run([*laconic, "encode", "photo.png", "-q", "30", "--quiet"], tmp_path)
    run([*laconic, "decode", "photo.lac", "-o", "back.png", "--quiet"], tmp_path)
    run([*laconic, "encode", "table.csv", "--quiet"], tmp_path)
    run([*laconic, "decode", "table.lac", "-o", "back.csv", "--quiet"], tmp_path)
    before, after = (np.asarray(Pillow.open(tmp_path / n), int) for n in ("photo.png", "back.png"))
    assert before.shape == after.shape
    assert np.abs(before - after).mean() < 16
    assert (tmp_path / "back.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()

    old = GOLDEN / "records-1" / "mnist-small.lac"
    decode = [*laconic, "decode", str(old), "-o", "digits.npy", "--quiet"]
    told = run(decode, tmp_path, expected=4)
    identity = json.loads(old.with_suffix(".json").read_text())["model"]
    assert f"{identity} (mnist-small)" in told
    assert "pip install laconic-models-extra" in told

    dependencies.rename(tmp_path / "aside")
    run([*into, str(wheels["laconic_models_extra"])], tmp_path)
    (tmp_path / "aside").rename(dependencies)
    run(decode, tmp_path)
    here = "from laconic import codec; print(codec.models.find('semanticodec-small').path)"
    assert run([python, "-c", here], tmp_path).startswith(str(site))
    assert np.load(tmp_path / "digits.npy").ndim >= 2
