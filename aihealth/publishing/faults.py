"""What is known to be wrong with the public collections that this project was built on."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from aihealth.publishing.staging import TEMPLATES


@cache
def _known() -> dict[str, Any]:
    return json.loads((TEMPLATES / "known_faults.json").read_text(encoding="utf-8"))


def of_sources(sources: Sequence[str]) -> list[str]:
    """A sentence for each source that is one of those collections, by its exact name."""
    return [_known()["sources"][name] for name in sources if name in _known()["sources"]]


def of_training(sources: Sequence[str]) -> list[str]:
    """What a model that was trained on these sources inherits from them.

    What the collections confound is only said where all sources are among them: of others nothing
    is known.
    """
    known, told = _known(), of_sources(sources)
    if told and len(told) == len(sources):
        within = [known["within_nih"]] if "nih" in sources else []
        both = {"ieee", "actualmed"} & set(sources)
        confounded = known["nearly_confounded" if both else "confounded"]
        told.insert(0, " ".join([confounded, *within]))
    if set(sources) & known["sources"].keys() - {"nih", "ieee"}:
        told.append(known["patients"])
    return told
