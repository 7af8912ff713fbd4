"""The Space as a running process: its endpoints, the examples it shows, and what it leaves."""

import base64
import html
import importlib.util
import json
import re
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from aihealth import Classifier
from aihealth.images import MAX_BYTES
from tests.helpers.image_files import make_dicom
from tests.helpers.space_app import Refused, SpaceApp, call, film, png, predict, upload, zip_of


@pytest.fixture(scope="module")
def classifier(app):
    return Classifier(app.model)


def predict_batch(app, files):
    return call(app, "predict_batch", [upload(app, data, name) for name, data in files.items()])


def test_the_page_comes_compressed_and_knows_its_language_before_gradio_asks(app):
    whole = httpx.get(app.url, headers={"accept-encoding": "identity"})
    small = httpx.get(app.url, headers={"accept-encoding": "gzip, br"})
    assert whole.headers.get("content-encoding") is None
    assert small.headers["content-encoding"] == "gzip" and small.text == whole.text
    assert int(small.headers["content-length"]) < 0.3 * len(whole.content)
    scripts = [match.start() for match in re.finditer("<script", whole.text)]
    assert whole.text.index("navigator.language") < scripts[1]
    for name in ("page", "viewer", "zip"):
        assert f'<link rel="modulepreload" href="page/{name}.js"' in whole.text
    assert "teach.js" not in whole.text


def test_predict_answers_what_the_classifier_says(app, classifier):
    content = png(film(3, "Covid"))
    answer = predict(app, content)
    expected = classifier.predict(content).to_dict()
    assert answer.pop("model") == app.model.name and answer.pop("revision") is None
    probabilities = answer.pop("probabilities")
    assert list(probabilities) == classifier.classes
    assert probabilities == pytest.approx(expected.pop("probabilities"))
    assert answer == expected


FRAMES = np.stack([film(4), np.zeros_like(film(4))])


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (make_dicom(255 - film(4), PhotometricInterpretation="MONOCHROME1"), ""),
        (make_dicom(film(4), PhotometricInterpretation="MONOCHROME2"), ""),
        (make_dicom(FRAMES), "only the first was used"),
    ],
)
def test_dicom_is_read_by_its_content_whatever_its_name(app, content, warning):
    answer = predict(app, content)
    expected = predict(app, png(film(4)))["probabilities"]
    assert answer["probabilities"] == pytest.approx(expected, abs=0.01)
    assert warning in (answer["warning"] or "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "not an image"),
        (png(film())[:500], "damaged or cut short"),
        (b"", "empty"),
        (make_dicom(film())[:-5000], "cut short"),
        (png(np.zeros((8, 8), np.uint8)), "at least 16"),
        (png(np.zeros((8001, 8000), np.uint8)), "more than 64 million pixels"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(app, content, reason):
    with pytest.raises(Refused, match=reason):
        predict(app, content)


@pytest.mark.parametrize("name", ["predict", "predict_batch"])
@pytest.mark.parametrize(
    "sent", ["data:image/png;base64,AAAA", "https://example.org/a.png", 7, {"path": "/etc/passwd"}]
)
def test_a_call_without_an_upload_is_told_what_to_send(app, name, sent):
    with pytest.raises(Refused, match="send an image"):
        call(app, name, sent)


def test_a_batch_has_a_row_for_each_file_also_for_broken_ones(app):
    archive = zip_of({"a/two.png": png(film(2)), "a/three.dcm": make_dicom(film(3))})
    files = {"one.png": png(film(1)), "broken.png": b"hello", "more.zip": archive}
    rows = predict_batch(app, files)
    assert [row["file"] for row in rows] == ["one.png", "broken.png", "a/two.png", "a/three.dcm"]
    assert [row["error"] is None for row in rows] == [True, False, True, True]


def test_uploads_over_the_limit_are_refused(app):
    data = b"\0" * (MAX_BYTES + 1)
    answer = httpx.post(f"{app.url}/gradio_api/upload", files={"files": ("big.png", data)})
    assert answer.status_code == 413


def test_only_the_two_endpoints_are_public(app):
    described = httpx.get(f"{app.url}/gradio_api/info").json()
    assert sorted(described["named_endpoints"]) == ["/predict", "/predict_batch"]


@pytest.mark.parametrize("shown", ["api_python", "api_curl"])
def test_the_examples_on_the_page_run_as_they_stand(app, tmp_path, shown):
    (tmp_path / "radiograph.png").write_bytes(png(film(1)))
    (tmp_path / "radiographs.zip").write_bytes(zip_of({"a.png": png(film(2)), "b.png": b"broken"}))
    page = httpx.get(f"{app.url}/config").json()["i18n_translations"]["en"]["html_api"]
    found = re.search(rf'id="{shown}"><code>(.*?)</code>', page, re.DOTALL)
    script = html.unescape(found.group(1))
    program = [sys.executable, "-c"] if shown == "api_python" else ["bash", "-ec"]
    done = subprocess.run(
        [*program, script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Covid" in done.stdout and "Pneumonia" in done.stdout
    if shown == "api_python":
        assert "a.png" in done.stdout and "not an image" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="gradio[mcp] is not installed")
def test_mcp_clients_find_documented_tools(app):
    schema = httpx.get(f"{app.url}/gradio_api/mcp/schema").json()
    tools = {tool["name"].removeprefix("app_"): tool for tool in schema}
    assert sorted(tools) == ["predict", "predict_batch"]
    for tool in tools.values():
        assert "not a medical device" in tool["description"]
        (argument,) = tool["inputSchema"]["properties"].values()
        assert "radiograph" in argument["description"]


MCP_CALLS = """
import asyncio, base64, json, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

url, image = sys.argv[1], "data:image/png;base64," + sys.stdin.read()

async def main():
    async with streamablehttp_client(url) as (*ends, _), ClientSession(*ends) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        name = {tool.removeprefix("app_"): tool for tool in tools}
        one = await session.call_tool(name["predict"], {"image": image})
        many = await session.call_tool(name["predict_batch"], {"files": [image, image]})
        print(json.dumps([one.content[0].text, many.content[0].text]))

asyncio.run(main())
"""


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="gradio[mcp] is not installed")
def test_an_mcp_client_gets_json_from_both_tools(app, classifier):
    content = png(film(1))
    done = subprocess.run(
        [sys.executable, "-c", MCP_CALLS, f"{app.url}/gradio_api/mcp/"],
        input=base64.b64encode(content).decode(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    one, many = (json.loads(text) for text in json.loads(done.stdout.splitlines()[-1]))
    expected = classifier.predict(content).to_dict()["probabilities"]
    assert one["probabilities"] == pytest.approx(expected)
    assert [row["probabilities"] for row in many] == [pytest.approx(expected)] * 2
    assert [row["error"] for row in many] == [None, None]


def test_nothing_of_a_visitor_stays(tmp_path):
    secret = "Doe^Jane-1957"
    files = {
        f"{secret}.png": png(film(5)),
        f"{secret}.dcm": make_dicom(film(6), PatientName=secret),
        f"{secret}-broken.png": b"hello",
        f"{secret}.zip": zip_of({f"{secret}/x.png": png(film(7))}),
    }
    with SpaceApp(tmp_path, DELETE_EVERY="1", DELETE_AFTER="4") as app:
        rows = predict_batch(app, files)
        answer = predict(app, files[f"{secret}.dcm"])
        with pytest.raises(Refused, match="not an image"):
            predict(app, files[f"{secret}-broken.png"])
        upload(app, b"never used", secret)
        assert app.files(), "uploads lie in the folder that is swept"
        assert secret not in json.dumps(answer)
        assert any(row["error"] for row in rows)
        deadline = time.monotonic() + 20
        while app.files() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert app.files() == []
        assert secret not in app.log.read_text()
    assert list(app.uploads.iterdir()) == []
    assert secret not in app.log.read_text()


def test_the_page_is_told_to_keep_no_history_and_to_count_nobody(app):
    config = httpx.get(f"{app.url}/config").json()
    assert config["run_history"] is False
    assert config["analytics_enabled"] is False
    assert not any("flag" in str(dependency["api_name"]) for dependency in config["dependencies"])
