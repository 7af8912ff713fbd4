"""The examples of the API tab; tests run them as they stand."""

import os

from huggingface_hub.constants import ENDPOINT

PYTHON = """\
from gradio_client import Client, handle_file

client = Client("{url}")
answer = client.predict(handle_file("radiograph.png"), api_name="/predict")
print(answer["label"], answer["probabilities"])

files = [handle_file("radiograph.png"), handle_file("radiographs.zip")]
for row in client.predict(files, api_name="/predict_batch"):
    print(row["file"], row["error"] or row["label"])
"""

CURL = """\
API={url}/gradio_api
FILE=$(curl -sf -F files=@radiograph.png $API/upload | cut -d'"' -f2)
DATA='{{"data": [{{"path": "'$FILE'", "meta": {{"_type": "gradio.FileData"}}}}]}}'
EVENT=$(curl -sf $API/call/predict -H "Content-Type: application/json" -d "$DATA" | cut -d'"' -f4)
curl -sfN $API/call/predict/$EVENT
"""

MCP = """\
{{"mcpServers": {{"aihealth": {{"url": "{url}/gradio_api/mcp/"}}}}}}
"""


ANSWER = """\
{{"label": "Pneumonia",
 "probabilities": {{"Covid": 0.02, "Normal": 0.11, "Pneumonia": 0.87}},
 "is_chest_radiograph": true, "abstained": false, "warning": null,
 "model": "org/name", "revision": "c0ffee1..."}}
"""


def base_url() -> str:
    """Where this page is reached: a Space's own host, or this machine."""
    if host := os.environ.get("SPACE_HOST"):
        return f"https://{host}"
    name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    name = "127.0.0.1" if name == "0.0.0.0" else name
    return f"http://{name}:{os.environ.get('GRADIO_SERVER_PORT', 7860)}"


def examples(with_mcp: bool) -> dict[str, str]:
    """Key of the heading in `texts` to the example, ready to be copied."""
    shown = {"api_python": PYTHON, "api_curl": CURL, "api_answer": ANSWER}
    shown |= {"api_mcp": MCP} if with_mcp else {}
    return {key: text.format(url=base_url()) for key, text in shown.items()}


def code_link() -> str | None:
    """Where the code of this page is read: a Space's own repository; None elsewhere."""
    space = os.environ.get("SPACE_ID")
    return f"{ENDPOINT}/spaces/{space}/tree/main" if space else None
