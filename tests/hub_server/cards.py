"""The checks that the Hub makes on the front matter of a README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from aihealth import publishing

LICENSES = json.loads(
    (Path(publishing.__file__).with_name("templates") / "licenses.json").read_text()
)["licenses"]
COLORS = "red yellow green blue indigo purple pink gray"
SDKS = {"gradio", "docker", "static", "streamlit"}


def front_matter(content: str) -> dict | None:
    """The metadata of a card, None without any; raises yaml.YAMLError or ValueError."""
    match = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", content, re.DOTALL)
    if not match:
        return None
    data = yaml.safe_load(match[1])
    if data is not None and not isinstance(data, dict):
        raise ValueError("metadata must be a mapping")
    return data


def check_card(content: str, repo_type: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a card; `repo_type` is model, dataset or space."""
    try:
        data = front_matter(content)
    except (yaml.YAMLError, ValueError) as error:
        return [f"Invalid YAML in README.md: {error}"], []
    if not data:
        if repo_type == "space":
            return ["Missing configuration in README: a Space needs sdk in its metadata"], []
        return [], ["empty or missing yaml metadata in repo card"]
    errors = []
    licenses = data.get("license") or []
    for name in [licenses] if isinstance(licenses, str) else licenses:
        if name not in LICENSES:
            errors.append(f'"license" must be one of the licenses of the Hub, not "{name}"')
    if not isinstance(data.get("tags") or [], list):
        errors.append('"tags" must be an array')
    errors += check_model_index(data["model-index"]) if "model-index" in data else []
    if repo_type == "space":
        if data.get("sdk") not in SDKS:
            errors.append('"sdk" must be one of [gradio, docker, static]')
        for key in ("colorFrom", "colorTo"):
            if key in data and data[key] not in COLORS.split():
                errors.append(f'"{key}" must be one of [{COLORS}]')
        if len(data.get("short_description") or "") > 60:
            errors.append('"short_description" must be at most 60 characters long')
    return errors, []


def check_model_index(index: object) -> list[str]:
    """Errors in a `model-index`: names, tasks, datasets and metrics are required."""
    if not isinstance(index, list) or not all(isinstance(entry, dict) for entry in index):
        return ['"model-index" must be an array of objects']
    errors = []
    for i, entry in enumerate(index):
        if not entry.get("name"):
            errors.append(f'"model-index[{i}].name" is required')
        if not isinstance(entry.get("results"), list):
            errors.append(f'"model-index[{i}].results" is required')
            continue
        for j, result in enumerate(entry["results"]):
            at = f"model-index[{i}].results[{j}]"
            required = [("task", "type"), ("dataset", "type"), ("dataset", "name")]
            errors += [
                f'"{at}.{part}.{key}" is required'
                for part, key in required
                if not (result.get(part) or {}).get(key)
            ]
            metrics = result.get("metrics") or []
            errors += [] if metrics else [f'"{at}.metrics" is required']
            errors += [
                f'"{at}.metrics[{k}].{key}" is required'
                for k, metric in enumerate(metrics)
                for key in ("type", "value")
                if key not in metric
            ]
    return errors
