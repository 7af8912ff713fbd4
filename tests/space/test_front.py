"""What stands between visitors and Gradio: room for uploads, places, headers, a quiet log."""

import asyncio
import errno
import json
import threading
import time

import httpx
import pytest

from aihealth.images import ImageError
from tests.helpers.image_files import shipped
from tests.helpers.space_app import Refused, call, film, png, predict, upload
from tests.space.conftest import UPLOADS_MB

import front  # isort: skip
import places  # isort: skip

# === Who asks ===


@pytest.mark.parametrize(
    ("peer", "forwarded", "who"),
    [
        ("8.8.8.8", "", "8.8.8.8"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),  # no proxy of ours: the header is the visitor's own
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "9.9.9.9, 1.1.1.1", "1.1.1.1"),  # the left one could be anyone's
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("2a00:1450:1:2::3", "", "2a00:1450:1:2::/64"),  # a visitor has all of these
        ("::ffff:8.8.8.8", "", "::ffff:8.8.8.8"),
    ],
)
def test_a_visitor_is_an_address_that_cannot_be_made_up(peer, forwarded, who):
    assert front.visitor(peer, forwarded) == who


# === Room for uploads ===


def stored(folder, name, size):
    path = folder / name
    path.write_bytes(bytes(size))
    time.sleep(0.01)  # The system's clock for files is coarse.
    return str(path)


@pytest.mark.parametrize(
    ("per_visitor", "in_all", "kept"),
    [(250, 10_000, {"theirs", "own2", "own3"}), (1000, 250, {"own2", "own3"})],
    ids=["a visitor", "all visitors"],
)
def test_the_room_is_bounded_and_the_oldest_leave_first(tmp_path, per_visitor, in_all, kept):
    uploads = front.Uploads(tmp_path, per_visitor, in_all)
    uploads.add("other", [stored(tmp_path, "theirs", 200)])
    for number in range(4):
        uploads.add("one", [stored(tmp_path, f"own{number}", 100)])
    assert {path.name for path in tmp_path.iterdir()} == kept


# === Places ===


def test_a_visitor_with_many_files_leaves_places_to_others():
    gate, taken = places.Places(at_once=3, per_visitor=2, waiting=2), []
    leave = threading.Event()

    def hold(who):
        with gate.place(who):
            taken.append(who)
            leave.wait(10)

    holders = [threading.Thread(target=hold, args=("greedy",)) for _ in range(4)]
    for thread in holders:
        thread.start()
    deadline = time.monotonic() + 10
    while (len(taken), gate._waiting["greedy"]) != (2, 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ImageError, match="waiting"), gate.place("greedy"):
        pass
    with gate.place("other"):
        assert taken == ["greedy", "greedy"]
    leave.set()
    for thread in holders:
        thread.join(10)
    assert len(taken) == 4 and not gate._taken and not gate._waiting


def test_many_visitors_do_not_fill_every_thread_with_what_waits():
    with pytest.raises(ImageError, match="waiting"), places.Places(in_all=0).place("any"):
        pass
    assert places.AT_ONCE + places.WAITING_IN_ALL < 32  # of app.py's CALLS


# === Calls that fail ===


def answer_of(app, tmp_path):
    """One request through the middleware: status, headers and body."""
    sent = []

    async def send(message):
        sent.append(message)

    middleware = front.Front(app, front.Uploads(tmp_path))
    scope = {"type": "http", "method": "POST", "path": "/upload", "headers": []}
    asyncio.run(middleware(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_sentence_and_one_line(tmp_path, capsys, number):
    async def full(*_):
        raise OSError(number, "No space left", "/secret/name.png")

    status, headers, body = answer_of(full, tmp_path)
    assert (status, body["detail"]) == (507, front.NO_ROOM)
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert capsys.readouterr().err == "a call failed: OSError\n"


def test_on_the_hub_the_page_may_be_shown_inside_another(monkeypatch):
    assert front.headers()
    monkeypatch.setenv("SPACE_ID", "org/name")
    assert front.headers() == []


# === The Space as a process ===


def test_every_answer_has_its_headers(app):
    for path in ("/", "/config", "/gradio_api/info", "/nothing"):
        found = httpx.get(app.url + path).headers
        assert found["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in found["content-security-policy"]


def test_malformed_calls_are_lines_that_say_nothing_of_the_visitor(app):
    before = app.log.read_text()
    elsewhere = {"path": "/SECRET/x.png", "meta": {"_type": "gradio.FileData"}}
    for data in (["SECRET"], [elsewhere], [{"x": "SECRET"}], [3], []):
        for function in ("predict", "predict_batch"):
            with pytest.raises(Refused):
                call(app, function, *data)
    body = {"data": [], "fn_index": 999, "session_hash": "SECRET"}
    answer = httpx.post(f"{app.url}/gradio_api/queue/join", json=body)
    assert answer.status_code == 500 and answer.json() == {"detail": front.FAILED}
    lines = app.log.read_text().removeprefix(before).splitlines()
    assert len(lines) == 11 and all(line.startswith("a call failed: ") for line in lines)
    assert "SECRET" not in "".join(lines)


def test_an_upload_that_made_room_for_others_is_a_sentence(app):
    more = bytes(int(0.6 * UPLOADS_MB * 2**20))
    first = upload(app, png(film(0)) + more)
    assert call(app, "predict", first)
    assert predict(app, png(film(1)) + more)
    with pytest.raises(Refused, match=front.REMOVED):
        call(app, "predict", first)


def test_a_decoder_that_dies_leaves_the_space_alive(app):
    data = bytearray(shipped("SC_rgb_jpeg_gdcm"))
    data[1358] = 0x84
    with pytest.raises(Refused, match="damaged"):
        predict(app, bytes(data))
    assert predict(app, shipped("MR_small_jp2klossless"))
    assert app.process.poll() is None
