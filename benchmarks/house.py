"""The size and shape of the code: lines, complexity, density, imports.

    pip install radon
    python benchmarks/house.py [--json FILE] [FOLDER]

FOLDER is a checkout, by default this one. Code lines are those that are neither blank, comment nor docstring. A block
is a function, method or class by radon, which counts comprehensions and boolean operators as branches. Cycles count
imports inside functions too, but not those for type checking.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter, defaultdict
from pathlib import Path

import networkx
from radon.complexity import cc_visit
from radon.raw import analyze

MOST_COMPLEX = 10
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def modules(root: Path) -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted((root / "volseg").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """Return the modules of volseg that a module imports at any place, but not for type checking alone."""
    typing_only = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            typing_only.update(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return (found & known) - {name}


def room_of(name: str) -> str:
    """Return the room of a module: its package, and inside io that of io."""
    parts = name.split(".")
    return ".".join(parts[:3] if parts[1:2] == ["io"] and len(parts) > 3 else parts[:2])


def comprehensions(tree: ast.Module) -> int:
    """Count the comprehensions and generator expressions of a module."""
    return sum(isinstance(node, COMPREHENSIONS) for node in ast.walk(tree))


def longest(trees: dict[str, ast.Module]) -> tuple[str, int]:
    """Return the function of most lines, without its docstring."""
    sizes = {}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                start = body[0].lineno if body else node.lineno
                sizes[f"{name}.{node.name}"] = (node.end_lineno or node.lineno) - start + 1
    return max(sizes.items(), key=lambda item: item[1])


def measure(root: Path) -> dict[str, object]:
    """Measure a checkout."""
    trees = modules(root)
    files = sorted((root / "volseg").rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    raw = {path: analyze(text) for path, text in texts.items()}
    code = sum(r.sloc for r in raw.values())
    blocks = [
        (block.complexity, f"{path.relative_to(root)}:{block.lineno} {block.fullname}")
        for path, text in texts.items()
        for block in cc_visit(text)
    ]
    graph = networkx.DiGraph()
    for name, tree in trees.items():
        graph.add_edges_from((name, other) for other in imports(name, tree, set(trees)))
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for path, text in texts.items():
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        rooms[room_of(name)].update(
            files=1,
            lines=text.count("\n"),
            code=raw[path].sloc,
            comprehensions=comprehensions(trees[name]),
            complex_blocks=sum(block.complexity > MOST_COMPLEX for block in cc_visit(text)),
        )
    entered = {b for a, b in graph.edges if b.startswith("volseg.io.") and not a.startswith("volseg.io")}
    density = sum(comprehensions(tree) for tree in trees.values())
    biggest = max(files, key=lambda path: texts[path].count("\n"))
    function, lines = longest(trees)
    return {
        "lines": sum(text.count("\n") for text in texts.values()),
        "code lines": code,
        "modules": len(files),
        "largest module": f"{biggest.relative_to(root)} ({texts[biggest].count(chr(10))} lines)",
        "longest function": f"{function} ({lines} lines)",
        f"blocks above complexity {MOST_COMPLEX}": sum(c > MOST_COMPLEX for c, _ in blocks),
        "complex blocks": [f"{name} {c}" for c, name in sorted(blocks, reverse=True) if c > MOST_COMPLEX],
        "comprehensions per 100 code lines": round(100 * density / code, 1),
        "import cycles": [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1],
        "modules of io entered from outside": len(entered),
        "rooms": {room: dict(counts) for room, counts in sorted(rooms.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.folder.resolve())
    for key, value in found.items():
        print(f"{key}: {value if not isinstance(value, dict) else ''}")
        if isinstance(value, dict):
            for room, counts in value.items():
                density = 100 * counts["comprehensions"] / max(counts["code"], 1)
                print(
                    f"  {room:24}{counts['files']:4} files {counts['lines']:6} lines {counts['complex_blocks']:3} "
                    f"complex blocks {density:5.1f} comprehensions per 100"
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
