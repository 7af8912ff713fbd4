"""What the test Hub can do wrong on purpose, and what it notes down."""

import json
import threading

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError


def upload(api, repo, path, content, **options):
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo, **options)


def get(hub, repo, path="a.txt"):
    return httpx.get(f"{hub.endpoint}/{repo}/resolve/main/{path}", follow_redirects=True)


def test_statuses_can_be_injected_a_number_of_times(api, repo, hub):
    hub.commit(repo, {"a.txt": b"0123"})
    hub.fault("status:429", path_regex="a.txt", times=2, after=1, headers={"Retry-After": "1"})
    answers = [get(hub, repo) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "1"


@pytest.mark.parametrize("action", ["close", "close-mid"])
def test_connections_can_break(api, repo, hub, action):
    hub.commit(repo, {"a.txt": b"0123"})
    hub.fault(action, "GET", "a.txt")
    with pytest.raises(httpx.TransportError):
        get(hub, repo)
    assert get(hub, repo).text == "0123"


def test_an_upload_can_break_halfway_and_is_tried_again(api, repo, hub):
    hub.fault("close-upload", "PUT", "/lfs/")
    upload(api, repo, "w.bin", b"\0" * (2 << 20))
    assert len(hub.calls("PUT", "/lfs/")) == 2
    assert len(hub.read(repo, "w.bin")) == 2 << 20


def test_bodies_can_be_cut_and_altered(api, repo, hub):
    hub.commit(repo, {"a.txt": b"0123"})
    for action in ("truncate", "alter", "alter:0"):
        hub.fault(action, "GET", "a.txt")
    assert get(hub, repo).content == b"01"
    assert get(hub, repo).content == b"01\xcd3"
    assert get(hub, repo).content == b"\xcf123"


def test_a_rival_commit_or_a_deletion_can_come_in_between(api, repo, hub):
    parent = api.model_info(repo).sha
    hub.fault(lambda: hub.commit(repo, {"rival": b"1"}), "POST", "/commit/")
    with pytest.raises(HfHubHTTPError) as error:
        upload(api, repo, "a", b"1", parent_commit=parent)
    assert error.value.response.status_code == 412
    hub.fault(f"delete:models/{repo}", "POST", "/commit/")
    with pytest.raises(RepositoryNotFoundError):
        upload(api, repo, "a.txt", b"1")


def test_a_delay_holds_an_answer_back_but_no_other(api, repo, hub):
    hub.commit(repo, {"a.txt": b"0123", "b.txt": b"1"})
    hub.fault("delay:0.5", "GET", "a.txt")
    finished = []
    slow = threading.Thread(target=lambda: finished.append(get(hub, repo).text))
    slow.start()
    assert get(hub, repo, "b.txt").text == "1"
    assert finished == []
    slow.join()
    assert finished == ["0123"]


def test_the_log_tells_who_asked_for_what(api, repo, hub):
    upload(api, repo, "a.txt", b"1")
    (call,) = hub.calls("POST", "/commit/main")
    assert (call.token, call.status) == (hub.token, 200)
    assert json.loads(call.body.splitlines()[0])["key"] == "header"


def test_faults_can_be_ordered_over_http(api, repo, hub):
    httpx.post(f"{hub.endpoint}/_admin/fault", json={"action": "status:500", "path_regex": repo})
    httpx.post(f"{hub.endpoint}/_admin/set", json={"page_size": 7})
    assert (get(hub, repo).status_code, hub.page_size) == (500, 7)
    assert httpx.get(f"{hub.endpoint}/_admin/requests").json()[-1]["status"] == 500
