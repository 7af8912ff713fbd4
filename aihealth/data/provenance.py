"""The runs behind a release, as its `provenance.json` tells them."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aihealth import release
from aihealth.errors import UserError

EARLIER = "earlier_runs"  # every run before, each once, the first one first
PARENTS = "continued_from"  # places in that list; before 2026-11-23 the runs themselves


def release_beside(weights: str | Path) -> Path:
    """The folder of the release that some weights come from; it need not be there.

    Args:
        weights: a file of a release, or of a checkpoint, which lies beside the release of its run.
    """
    folder = Path(weights).parent
    return folder.parent / release.RELEASE if Path(weights).suffix == ".npz" else folder


def provenance_of(weights: str | Path) -> dict[str, Any] | None:
    """What the run that some weights come from says of itself; None where they lie alone."""
    path = release_beside(weights) / release.PROVENANCE
    return release.read_facts(path) or None


def check_left_out(weights: Iterable[str | Path], source: str) -> None:
    """Refuse starting weights of a run, or of runs behind it, that may have seen a source.

    Args:
        weights: files.
        source: as `--leave-out` has it.

    Raises:
        UserError: one of them was trained with it, or, before runs told their sources, without
            `--leave-out SOURCE`.
    """
    parts = {source, *(part.partition("/")[0] for part in source.split("+"))}

    def may_have_seen(run: dict[str, Any]) -> bool:
        if run.get("epochs") == 0 or run.get("leave_out") == source:
            return False
        return run.get("sources") is None or not parts.isdisjoint(run["sources"])

    for name in weights:
        run = provenance_of(name)
        if run and any(map(may_have_seen, flatten([run])[0])):
            raise UserError(
                f"--weights {name} --leave-out {source}: the run that these weights come from was "
                f"not trained without {source}"
            )


def flatten(provenances: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """All runs behind some releases, each once.

    Args:
        provenances: contents of `provenance.json`.

    Returns:
        The runs, those that others went on from before these, with `continued_from` as places in
        this list; and the places of the given ones.
    """
    runs: list[dict[str, Any]] = []
    done: dict[int, int] = {}  # many may go on from one: each is followed once

    def add(run: dict[str, Any], known: list[dict[str, Any]]) -> int:
        if id(run) in done:
            return done[id(run)]
        known = run.get(EARLIER, known)
        parents = run.get(PARENTS) or []
        parents = [parents] if isinstance(parents, dict) else parents
        places = [add(known[p] if isinstance(p, int) else p, known) for p in parents]
        entry = {name: run[name] for name in run if name not in (EARLIER, PARENTS)}
        entry[PARENTS] = places
        if entry not in runs:
            runs.append(entry)
        done[id(run)] = runs.index(entry)
        return done[id(run)]

    return runs, [add(provenance, []) for provenance in provenances]


def without_folders(command: str) -> str:
    """A command without the folders of the machine it ran on; of a run's files, from its name."""

    def short(word: str) -> str:
        option, equals, name = word.rpartition("=")
        path = Path(name)
        if not path.is_absolute():
            return word
        kept = 3 if path.parent.name in ("checkpoint", release.RELEASE) else 1
        return option + equals + str(Path(*path.parts[-kept:]))

    return shlex.join(map(short, shlex.split(command)))


def renamed(provenance: dict[str, Any]) -> dict[str, Any]:
    """Words of releases before 2026-11-26 as they are now, in the runs behind it too."""
    found = dict(provenance)
    if "both_sides" in found:
        found["flip_averaging"] = found.pop("both_sides")
    settings = dict(found.get("settings") or {})
    if "exchange" in settings:
        settings["background_swap"] = settings.pop("exchange")
    if EARLIER in found:
        found[EARLIER] = [renamed(run) for run in found[EARLIER]]
    return found | {"settings": settings}
