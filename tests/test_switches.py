"""What a codec or a medium is stands in its class: elsewhere the code hardly asks who it is, and no
module needs another that needs it."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path

from laconic.codec import registry
from laconic.formats.container import Media

ROOT = Path(__file__).parents[1]
MOST = 12
OWN = {  # folder -> names it may ask for: its own
    "codec/image": {"mlic", "mlic++", "compressai", "Media.IMAGE"},
    "codec/audio": {"semanticodec", "pscodec", "Media.AUDIO"},
    "codec/video": {"motion", "hnerv", "Media.VIDEO"},
    "codec/lossless/photo": {"photo", "Media.IMAGE"},
    "codec/lossless/records": {"records", "Media.DATA"},
    "codec/media": {f"Media.{kind.name}" for kind in Media},
    "formats": {f"Media.{kind.name}" for kind in Media},
}
NAMES = {*registry.BUILT_IN, *(f"Media.{kind.name}" for kind in Media)}


def asked(node: ast.AST) -> set[str]:
    """Names that a comparison, a case or the keys of a table mention."""
    if isinstance(node, ast.Dict):
        parts: list[ast.AST] = [key for key in node.keys if key is not None]
    elif isinstance(node, ast.Compare | ast.match_case):
        parts = [node] if isinstance(node, ast.Compare) else [node.pattern]
    else:
        return set()
    found = set()
    for part in parts:
        for inner in ast.walk(part):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                found.add(inner.value)
            elif isinstance(inner, ast.Attribute):
                found.add(ast.unparse(inner))
    return found & NAMES


def switches() -> Iterator[str]:
    for package in ("cli", "codec", "entropy", "formats"):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            own = {n for folder, names in OWN.items() if place.startswith(folder) for n in names}
            if place == "codec/registry.py":  # lists them, and is asked instead
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = asked(node) - own
                if names:
                    yield f"{place}:{getattr(node, 'lineno', 0)} {sorted(names)}"


def test_few_places_ask_which_codec_or_medium_it_is() -> None:
    found = list(switches())

    assert len(found) <= MOST, "\n".join(found)


def imports(path: Path, files: Container[str], *, lazy: bool) -> Iterator[str]:
    """Modules of ours that a file imports at its top, or anywhere; not those for types alone."""
    left: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while left:
        node = left.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("laconic."):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in files else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("laconic."))
        elif not isinstance(node, ast.If) or ast.unparse(node.test) != "TYPE_CHECKING":
            left += ast.iter_child_nodes(node) if lazy else []


def circles(*, lazy: bool) -> list[set[str]]:
    """Groups of modules that need each other."""
    files = {}
    for package in ("cli", "codec", "entropy", "formats"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(("laconic", *path.relative_to(ROOT).with_suffix("").parts))
            files[name.removesuffix(".__init__")] = path
    needs = {
        n: {i for i in imports(p, files, lazy=lazy) if i in files and i != n}
        for n, p in files.items()
    }
    reach: dict[str, set[str]] = {}
    for start in needs:
        seen, left = set(), [start]
        while left:
            for following in needs[left.pop()] - seen:
                seen.add(following)
                left.append(following)
        reach[start] = seen
    groups = {frozenset(m for m in reach[n] if n in reach[m]) for n in needs if n in reach[n]}
    return sorted((set(g) for g in groups), key=len, reverse=True)


def test_no_modules_need_each_other_to_be_imported() -> None:
    assert circles(lazy=False) == []


def test_imports_within_functions_go_round_in_no_circle_of_codecs() -> None:
    found = circles(lazy=True)

    assert all(m.startswith("laconic.formats.") for group in found for m in group), found
