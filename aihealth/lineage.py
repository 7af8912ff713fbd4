"""The runs behind a release, as its `provenance.json` tells them."""

from collections.abc import Sequence
from typing import Any

EARLIER = "earlier_runs"  # every run before, each once, the first one first
PARENTS = "continued_from"  # places in that list; before 2026-11-23 the runs themselves


def flatten(provenances: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """All runs behind some releases, each once.

    Args:
        provenances: contents of `provenance.json`.

    Returns:
        The runs, those that others went on from before these, with `continued_from` as places in
        this list; and the places of the given ones.
    """
    runs: list[dict[str, Any]] = []

    def add(run: dict[str, Any], known: list[dict[str, Any]]) -> int:
        known = run.get(EARLIER, known)
        parents = run.get(PARENTS) or []
        parents = [parents] if isinstance(parents, dict) else parents
        places = [add(known[p] if isinstance(p, int) else p, known) for p in parents]
        entry = {name: run[name] for name in run if name not in (EARLIER, PARENTS)}
        entry[PARENTS] = places
        if entry not in runs:
            runs.append(entry)
        return runs.index(entry)

    return runs, [add(provenance, []) for provenance in provenances]
