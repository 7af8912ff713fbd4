"""The wall: what a file does to a decoder costs that file, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from aihealth import images, limits, wall
from aihealth.images import ImageError, decode
from tests.helpers.image_files import RAMP, encode, make_dicom, shipped

COMPRESSED = ["MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_gdcm"]


def patched(name, **changes):
    """A file that comes with pydicom, with some bytes changed."""
    data = bytearray(shipped(name))
    for place, value in changes.items():
        data[int(place.removeprefix("at_"))] = value
    return bytes(data)


def deadly():
    """Found by mutating: the decoder's process dies, of a bad address and of an assertion."""
    ends_in_a_bad_address = patched("SC_rgb_jpeg_gdcm", at_1358=0x84)
    places = {1554: 0xD5, 1560: 0x7E, 1593: 0, 1623: 0, 1634: 0x1C, 1662: 0x32, 1685: 0x87, 1687: 0}
    aborts = patched("MR_small_jpeg_ls_lossless", **{f"at_{k}": v for k, v in places.items()})
    return [ends_in_a_bad_address, aborts]


@pytest.fixture
def worker_that(monkeypatch):
    """Make new workers decode with other code, given as the lines of `decode_here(data)`."""

    def replace(*lines):
        code = "import sys, json; sys.path[:] = json.loads(sys.argv[1])\n"
        code += "from aihealth import wall\nfrom aihealth.errors import ImageError\n"
        code += "wall.MAX_SECONDS = 1.0\ndef decode_here(data):\n"
        code += "".join(f"    {line}\n" for line in lines)
        code += "wall.serve(int(sys.argv[2]), decode_here)\n"
        monkeypatch.setattr(wall, "_START", code)

    monkeypatch.setattr(wall, "_pool", wall._Pool())
    yield replace
    wall._pool.close()


@pytest.mark.parametrize("name", COMPRESSED)
def test_behind_the_wall_films_look_the_same(name):
    assert np.array_equal(wall.decode(shipped(name))[0], images.decode_here(shipped(name))[0])


def test_without_shared_memory_the_pipes_serve(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(wall, "_pool", wall._Pool())
    data = shipped(COMPRESSED[0])
    assert np.array_equal(wall.decode(data)[0], images.decode_here(data)[0])
    wall._pool.close()


def test_a_decoder_that_dies_costs_its_own_file_only():
    good = shipped(COMPRESSED[0])
    expected = decode(good)
    for data in deadly():
        with pytest.raises(ImageError, match="damaged"):
            decode(data)
        assert np.array_equal(decode(good), expected)


def test_many_threads_get_each_their_own_answer():
    files = [shipped(name) for name in COMPRESSED] + deadly()

    def shape(data):
        try:
            return decode(data).shape
        except ImageError as error:
            return str(error)

    alone = [shape(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shape, files * 6)) == alone * 6


def test_common_files_need_no_process(monkeypatch):
    monkeypatch.setattr(wall, "decode", lambda _: pytest.fail("went behind the wall"))
    film = Image.fromarray(RAMP)
    for data in (encode(film), encode(film, "JPEG"), make_dicom(RAMP), shipped("MR_small")):
        assert decode(data).size


def test_what_is_slow_is_stopped(worker_that):
    worker_that("while True: pass")
    with pytest.raises(ImageError, match="more than 5 s"):
        wall.decode(b"any")


def test_what_sleeps_is_stopped_too(worker_that, monkeypatch):
    monkeypatch.setattr(wall, "_PATIENCE", 0.3)
    worker_that("import time; time.sleep(60)")
    with pytest.raises(ImageError, match="more than 5 s"):
        wall.decode(b"any")


@pytest.mark.skipif(sys.platform != "linux", reason="the clock is Linux's own")
def test_each_file_has_its_time_by_the_clock_that_the_limit_goes_by(worker_that):
    worker_that(
        "import resource",
        "wall.time.clock_gettime = {-8: 1000.9}.get",  # as on a busy machine, where it runs ahead
        "raise ImageError(str(resource.getrlimit(resource.RLIMIT_CPU)[0]))",
    )
    limits = []
    for _ in range(2):
        with pytest.raises(ImageError) as error:
            wall.decode(b"any")
        limits.append(int(str(error.value)))
    assert limits[0] < 10 and limits[1] == 1001


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds the limit on memory")
def test_what_needs_much_memory_is_stopped(worker_that):
    worker_that("bytearray(500 * 2**20)")
    with pytest.raises(ImageError, match="too much memory"):
        wall.decode(b"any")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds the limit on memory")
def test_what_earlier_files_left_in_a_worker_refuses_no_good_file(worker_that):
    worker_that(
        "wall.kept = getattr(wall, 'kept', []) + [bytearray(200 * 2**20)]",
        "import numpy; return numpy.zeros((16, 16), numpy.uint8), None",
    )
    for _ in range(3):
        assert wall.decode(b"any")[0].shape == (16, 16)


@pytest.mark.parametrize(
    "lines",
    [
        ["wall._write(wall.sys.stdout.buffer.raw, bytes(99))", "return bytes(99)"],
        ["import os; os._exit(0)"],
        ["import os, signal; os.kill(os.getpid(), signal.SIGABRT)"],
        ["import sys; sys.exit(1)"],
        ["raise RuntimeError('not an ImageError')"],
    ],
)
def test_however_a_worker_ends_there_is_one_sentence(worker_that, lines):
    worker_that(*lines)
    with pytest.raises(ImageError, match="damaged"):
        wall.decode(b"any")


def test_an_answer_that_is_no_image_is_not_believed(worker_that):
    worker_that("import numpy; return numpy.zeros((0, 9), numpy.uint8), None")
    with pytest.raises(ImageError, match="damaged"):
        wall.decode(b"any")


def test_a_worker_knows_no_token_and_writes_no_file(worker_that, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = tmp_path / "written"
    worker_that(
        "import os",
        "try:",
        f"    with open({str(path)!r}, 'wb') as file: file.write(b'x')",
        "except OSError: pass",
        "raise ImageError(str('HF_TOKEN' in os.environ))",
    )
    with pytest.raises(ImageError, match=r"False|damaged"):  # SIGXFSZ may end it.
        wall.decode(b"any")
    assert not path.exists() or not path.stat().st_size


def test_a_worker_that_died_while_it_was_idle_is_replaced(worker_that):
    worker_that("import numpy; return numpy.zeros((16, 16), numpy.uint8), None")
    wall.warm()
    (idle,) = wall._pool._idle
    os.kill(idle._process.pid, signal.SIGTERM)
    idle._process.wait(10)
    assert wall.decode(b"any")[0].shape == (16, 16)


def test_a_process_that_cannot_be_started_is_a_sentence(worker_that, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ImageError, match="can be started"):
        wall.decode(b"any")
    assert wall._pool._places._value == wall._WORKERS, "its place is free again"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_workers_of_its_own():
    data = shipped(COMPRESSED[0])
    expected = decode(data)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(decode(data), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(decode(data), expected)


def test_no_worker_outlives_its_parent():
    code = (
        "from aihealth import wall; wall.warm(); "
        "print(wall._pool._idle[0]._process.pid, flush=True); import time; time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{worker}/stat") as file:
            if file.read().split()[2] == "Z":  # Nobody collects it here, but it has ended.
                return
        time.sleep(0.05)
    pytest.fail("the worker is still there")


def test_limits_leave_room_for_the_largest_grey_picture():
    assert limits.MAX_PIXELS < limits.MAX_MEMORY
