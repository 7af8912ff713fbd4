"""The rooms of the project: what may import what, read from the source text.

Imports inside functions count too: they only put off what a reader has to know.
"""

import ast
import sys

import pytest

from tests.helpers.programs import ROOT

# From what is built last to what everything stands on; imports go to the right only.
ROOMS = ("publishing", "training", "evaluation", "inference", "modeling", "data", "core")
SERVING = {"numpy", "PIL", "huggingface_hub", "ai_edge_litert", "pydicom", "gdcm", "openjpeg",
           "pylibjpeg", "pillow_heif"}  # fmt: skip
FOR_ALL_ROOMS = {"__main__", "__init__"}  # the command line, and names that load when asked for


def name_of(path, root=ROOT):
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def read(package, root=ROOT):
    """Per module of a package the modules that it imports, its own ones by their full names."""
    paths = {name_of(path, root): path for path in (root / package).rglob("*.py")}
    found = {}
    for name, path in paths.items():
        imports = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name}: relative imports are not read here"
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                modules = inside & paths.keys() if node.module.startswith(package) else set()
                all_modules = len(modules) == len(inside)
                imports |= modules | (set() if all_modules else {node.module})
        found[name] = imports
    return found


def room_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "core"


def own(imports, package="aihealth"):
    return {each for each in imports if each.split(".")[0] == package}


def strangers_in_the_core(modules):
    """What serving would need besides its few packages."""
    return [
        f"{name} imports {each}"
        for name, imports in modules.items()
        if room_of(name) == "core" and name.split(".")[-1] not in FOR_ALL_ROOMS
        for each in imports
        if room_of(each) != "core"
        or each.split(".")[0] not in SERVING | {"aihealth"} | sys.stdlib_module_names
    ]


def upward(modules):
    """Imports from a room above, and from `data_prep` and programs, which lie above all."""
    outside = {"data_prep", "train", "push_to_hub", "space", "benchmarks", "tests"}
    return [
        f"{name} imports {each}"
        for name, imports in modules.items()
        if name.split(".")[-1] != "__main__"
        for each in imports
        if each.split(".")[0] in outside
        or (each in own(imports) and ROOMS.index(room_of(each)) < ROOMS.index(room_of(name)))
    ]


def circles(modules, package="aihealth"):
    """The modules that a walk along the imports comes back to."""

    def reached(start):
        found, waiting = set(), [start]
        while waiting:
            for each in own(modules[waiting.pop()], package) & modules.keys() - found:
                found.add(each)
                waiting.append(each)
        return found

    return sorted(name for name in modules if name in reached(name))


def test_the_serving_core_needs_few_packages_and_no_room():
    assert strangers_in_the_core(read("aihealth")) == []


def test_rooms_import_downwards_only():
    assert upward(read("aihealth")) == []


def test_there_is_no_circle():
    assert circles(read("aihealth")) == []
    assert circles(read("data_prep"), "data_prep") == []


def test_only_one_place_knows_what_lies_beside_the_package():
    found = []
    for path in (ROOT / "aihealth").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if any(way in text for way in ("parent.parent", "parents[")):
            found.append(name_of(path))
    assert found == ["aihealth.errors"]


# === The rules themselves ===


@pytest.fixture
def package(tmp_path):
    """A package in the same rooms, from the text of its modules."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "aihealth" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return read("aihealth", tmp_path)

    return write


def test_an_import_inside_a_function_counts(package):
    modules = package(ood="def fit():\n    from sklearn import covariance\n")
    assert strangers_in_the_core(modules) == ["aihealth.ood imports sklearn"]


def test_the_core_may_not_enter_a_room(package):
    modules = package(hub="from aihealth.modeling import export\n", modeling__export="")
    assert strangers_in_the_core(modules) == ["aihealth.hub imports aihealth.modeling.export"]


def test_an_upward_import_is_found(package):
    modules = package(data__streaming="from aihealth.training.loop import Run\n", training__loop="")
    assert upward(modules) == ["aihealth.data.streaming imports aihealth.training.loop"]
    modules = package(data__streaming="import data_prep.demo\n")
    assert upward(modules) == ["aihealth.data.streaming imports data_prep.demo"]


def test_a_circle_is_found_whatever_its_length(package):
    modules = package(
        a="import aihealth.b\n",
        b="from aihealth import c\n",
        c="def late():\n    from aihealth.a import thing\n",
        d="from aihealth import a\n",
        e="",
    )
    assert circles(modules) == ["aihealth.a", "aihealth.b", "aihealth.c"]
