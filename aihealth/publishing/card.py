"""The model card: `templates/model_card.md` filled with what the release folder says of itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, constants

from aihealth import release
from aihealth.data import provenance as lineage
from aihealth.errors import UserError
from aihealth.evaluation.audit import CLASSES_FROM
from aihealth.publishing import card_tables, card_training, faults, project
from aihealth.publishing.card_tables import dig
from aihealth.publishing.changelog import Entry
from aihealth.publishing.staging import TEMPLATES
from aihealth.training.starting_point import overlap_text

PLACEHOLDER = "your-org/your-model"

FIGURE_CAPTIONS = {
    "confusion_matrix.png": "Confusion matrix",
    "roc.png": "ROC curve of each class",
    "reliability.png": "Reliability: confidence against accuracy",
    "risk_coverage.png": "Share of errors against share of images answered",
    "left_out_reliability.png": "Leave-one-source-out: confidence against accuracy",
    "left_out_risk_coverage.png": (
        "Leave-one-source-out: share of errors against share of images answered"
    ),
    "training_curves.png": "Loss and accuracy over the epochs",
}


def write(folder: str | Path) -> None:
    """Write the card of a release that has no place on the Hub yet into its folder."""
    render(folder).save(Path(folder) / release.CARD)


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
    metrics = release.read_facts(folder / release.METRICS)
    provenance = lineage.renamed(release.read_facts(folder / release.PROVENANCE))
    repo_id = repo_id or PLACEHOLDER
    return ModelCard.from_template(
        _card_data(config, metrics, provenance, repo_id),
        template_path=str(TEMPLATES / "model_card.md"),
        **_context(folder, config, metrics, provenance, repo_id, history),
    )


def revision_of(config: release.ReleaseConfig) -> str:
    """What the card's code blocks are pinned to."""
    return f"v{config.version}" if config.version else "main"


def _card_data(
    config: release.ReleaseConfig, metrics: dict, provenance: dict, repo_id: str
) -> ModelCardData:
    tags = ["image-classification", "keras", "chest-x-ray", "radiology", "not-a-medical-device"]
    if config.drawn_data:
        tags.append("demo")
    datasets = _hub_datasets(provenance)
    results = _eval_results(metrics.get("test"), datasets[0] if datasets else "imagefolder")
    for source, block in card_tables.left_out_sources(metrics).items():
        results += _eval_results(block, "imagefolder", f"{source}, leave-one-source-out")
    src = f"{constants.ENDPOINT}/{repo_id}/resolve/{revision_of(config)}/{release.EXAMPLE}"
    return ModelCardData(
        license="apache-2.0",
        language="en",
        library_name="keras",
        pipeline_tag="image-classification",
        tags=tags,
        base_model=card_training.base_models(provenance) or None,
        datasets=datasets or None,
        metrics=["accuracy", "recall", "roc_auc"],
        co2_eq_emissions=card_training.emissions(provenance),
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
        widget=[{"src": src, "example_title": "A drawn image, not a radiograph"}],
    )


def _eval_results(
    block: dict[str, Any] | None, dataset: str, name: str | None = None
) -> list[EvalResult]:
    """What goes into `model-index`: an evaluation's figures, each with n and interval."""
    if not block:
        return []
    figures = [("accuracy", "Accuracy", ("accuracy",))]
    figures += [("accuracy", "Balanced accuracy", ("balanced_accuracy",))]
    figures += [("recall", f"Sensitivity {name}", ("recall", name)) for name in block["per_class"]]
    figures += [("ece", "Expected calibration error", ("ece",))]
    results = []
    for kind, metric, keys in figures:
        value, bounds = dig(block, keys), dig(block.get("intervals", {}), keys)
        if value is None:
            continue
        n = block["per_class"][keys[1]]["n"] if kind == "recall" else block["n"]
        results.append(
            EvalResult(
                task_type="image-classification",
                task_name="Image classification",
                dataset_type=dataset,
                dataset_name=name or block.get("dataset") or "held-out test split",
                dataset_config=name,  # the client takes figures of one configuration together
                dataset_split="test",
                metric_type=kind,
                metric_name=f"{metric} (n = {n})",
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
    urls = project.urls()
    left_out = card_tables.left_out_sources(metrics)
    whole = card_tables.left_out_block(metrics)
    settings = provenance["settings"]
    return {
        "title": repo_id.rpartition("/")[2] if repo_id != PLACEHOLDER else "AIHealth",
        "repo_id": repo_id,
        "url": f"https://huggingface.co/{repo_id}",
        "links": [
            (name, urls[key])
            for key, name in (("Repository", "Code"), ("Space", "Try it: the Space"))
            if key in urls
        ],
        "repository": urls.get("Repository"),
        "issues": urls.get("Issues"),
        "revision": revision_of(config),
        "version": config.version,
        "example": release.EXAMPLE,
        "drawn_data": config.drawn_data,
        "classes": config.classes,
        "arch": config.arch,
        "input_size": config.input_size,
        "parameters": _thousands(provenance.get("parameters")),
        "accuracy": card_tables.accuracy_text(metrics),
        "flip_averaging": provenance.get("flip_averaging", False),  # until November 2026
        "block": metrics.get("test"),
        "figure": card_tables.with_interval,
        "overall": card_tables.overall_text,
        "left_out": left_out | ({"all": whole} if left_out and whole else {}),
        "left_out_block": whole,
        "calibration": metrics.get("calibration") or {},
        "audit": release.read_facts(folder / release.AUDIT),
        "audit_names": CLASSES_FROM,
        "figures": [
            (name, caption)
            for name, caption in FIGURE_CAPTIONS.items()
            if (folder / release.FIGURES / name).is_file()
        ],
        "sources": config.sources,
        "faults": [] if config.drawn_data else faults.of_training(config.sources),
        "data_rows": card_training.data_rows(provenance),
        "settings": settings,
        "swap": settings.get("background_swap"),
        "starting_weights": card_training.starting_weights(provenance),
        "training_rows": card_training.training_rows(provenance),
        "command": lineage.without_folders(provenance.get("command") or ""),
        "seen": overlap_text(provenance.get("test_images_seen_before")),
        "leaked": provenance.get("test_images_in_training_groups"),
        "abstain_below": config.abstain_below,
        "abstain_rule": config.abstain_rule,
        "has_ood": config.ood_threshold is not None,
        "shift_limit": config.shift_limit,
        "cost_text": card_training.cost_text(provenance),
        "static_page": _has_static_page(),
        "history": history,
        "year": (published.date if published else provenance.get("date", "2026"))[:4],
    }


def _has_static_page() -> bool:
    try:
        return release.in_checkout("space/static").is_dir()
    except UserError:
        return False


def _hub_datasets(provenance: dict[str, Any]) -> list[str]:
    """Repo ids among the data that it was trained on."""
    return [row["repo_id"] for row in provenance.get("data", []) if row.get("repo_id")]


def _thousands(count: int | None) -> str | None:
    return f"{count:,}".replace(",", " ") if count else None


def code_blocks(card: str, language: str = "python") -> list[str]:
    """The fenced code blocks of a card, in their order."""
    blocks = card.split(f"```{language}\n")[1:]
    return [block.split("```")[0] for block in blocks]
