"""The direction of knowledge, light imports, and what the package must never do."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import films
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cli", "codec", "entropy", "formats")
FORBIDDEN = {
    "entropy": ("torch", "click", "laconic.codec", "laconic.cli"),
    "formats": ("torch", "click", "laconic.cli", "laconic.entropy"),
    "codec": ("click", "laconic.cli"),
    "cli": (),
}


@cache
def modules() -> list[tuple[str, Path, list[ast.AST]]]:
    """Package, path and nodes of every module."""
    return [
        (package, path, list(ast.walk(ast.parse(path.read_text()))))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def imported(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_nobody_imports_upwards() -> None:
    for package, path, nodes in modules():
        for name in imported(nodes):
            for forbidden in FORBIDDEN[package]:
                if path.name == "pillow.py" and forbidden == "laconic.codec":
                    continue
                assert name != forbidden, path
                assert not name.startswith(forbidden + "."), path


def test_only_the_namespaced_names_are_imported() -> None:
    for _, path, nodes in modules():
        for name in imported(nodes):
            assert name.split(".")[0] not in PACKAGES, (path, name)


def test_nothing_unpickles_evaluates_or_starts_a_shell() -> None:
    for _, path, nodes in modules():
        assert not {"pickle", "marshal", "shelve", "dill"} & set(imported(nodes)), path
        for node in nodes:
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert name not in ("eval", "exec", "os.system"), path
            assert keywords.get("shell") != "True", path
            assert keywords.get("allow_pickle") != "True", path
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("laconic.entropy", ("torch", "click", "PIL")),
        ("laconic.formats", ("torch", "click")),
        ("laconic.formats.pillow", ("torch", "click")),
        ("laconic.codec", ("torch", "click")),
        ("laconic.cli.main", ("torch", "numpy", "PIL", "av")),
    ],
)
def test_imports_are_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def test_every_package_folder_is_in_the_wheel() -> None:
    listed = (ROOT / "pyproject.toml").read_text()
    for package in PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            name = "laconic." + ".".join(init.parent.relative_to(ROOT).parts)
            assert f'"{name}"' in listed, f"add {name} to tool.setuptools.packages"


def test_lossless_files_and_videos_are_coded_where_torch_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,x\n2,y\n" * 40)
    films.write(tmp_path / "c.mkv", films.moving(2, 16, 16))
    code = """
import sys
sys.modules["torch"] = sys.modules["torchaudio"] = None  # importing them is an ImportError
import numpy as np
from laconic import codec
picture = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
coded = codec.encode(picture, lossless=True)
assert (codec.decode(coded).pixels == picture).all()
assert codec.verify(coded).symbols == picture.size
assert codec.decode(codec.encode("t.csv")).text == open("t.csv", "rb").read()
assert {c.name for c in codec.registry.codecs()} >= {"mlic", "photo", "records", "motion", "hnerv"}
assert codec.models.list_models()
from laconic.cli.main import cli
assert not cli.main(["encode", "t.csv", "--quiet"], standalone_mode=False)
assert not cli.main(["decode", "t.lac", "-f", "--quiet"], standalone_mode=False)
assert not cli.main(["encode", "c.mkv", "--quiet"], standalone_mode=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_golden_files_decode_where_torch_is_not_installed() -> None:
    """What decodes exactly needs no torch; uncompiled, since compiling takes minutes."""
    code = """
import sys
sys.modules["torch"] = sys.modules["torchaudio"] = None
import numpy as np
from laconic import codec
for name in sys.argv[1:]:
    decoded = codec.decode(name)
    assert codec.verify(name).symbols
    assert len(np.asarray(decoded[0:1] if codec.probe(name).media == "video" else decoded.pixels))
    assert not any(m.partition(".")[0] == "torch" and sys.modules[m] for m in sys.modules)
assert codec.from_pretrained("photo").info.codec == "photo"
"""
    golden = ROOT / "tests" / "golden"
    files = (golden / "hnerv-1" / "hybrid-1x1.lac", golden / "photo-1" / "photo-dot.lac")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        env={**os.environ, "LACONIC_NO_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_a_picture_is_coded_without_the_compilers_of_torch(tmp_path: Path) -> None:
    """They take longer to import than the rest of torch."""
    code = """
import sys
import numpy as np
from laconic import codec
coded = codec.encode(np.zeros((16, 16, 3), np.uint8), codec="mlic")
assert codec.decode(coded).pixels.shape == (16, 16, 3)
print([m for m in ("torch._dynamo", "sympy", "triton") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "[]", done.stderr


def test_worker_processes_share_the_threads_of_their_caller(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import os
from laconic.codec.engines import choose, spread
from laconic.codec.devices import cores, split

def threads(_):
    return cores()

if __name__ == "__main__":
    engine = choose("local", *split(2, 2), None)
    print(cores(), *(found for _, found in spread(threads, [1, 2], engine, lost=print)))
""")

    for said, expected in (("4", "4 2 2"), ("1", "1 1 1")):
        environment = {**os.environ, "OMP_NUM_THREADS": said}
        done = subprocess.run(
            [sys.executable, str(script)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
