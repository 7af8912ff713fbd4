"""Xet storage: chunks packed in xorbs, and shards that say how files are made of them.

The formats are those of https://huggingface.co/docs/xet. What arrives is unpacked at once into
plain content by SHA-256, so that clients without Xet can download it too.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from .routing import find_repo, flag, route
from .store import HubError

ENTRY = 48  # bytes of every record in a shard
BOOKEND = b"\xff" * 32
WITH_VERIFICATION, WITH_SHA256 = 1 << 31, 1 << 30


class Chunk(NamedTuple):
    """Where a chunk lies in its xorb, and how it is packed."""

    start: int
    end: int
    scheme: int
    size: int


def hex_of(digest: bytes) -> str:
    """Xet writes a hash as four little-endian 64-bit numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))


@lru_cache(maxsize=64)
def chunks_of(path: Path) -> list[Chunk]:
    data, position, chunks = path.read_bytes(), 0, []
    while position + 8 <= len(data) and data[position] == 0:  # the footer begins otherwise
        packed = int.from_bytes(data[position + 1 : position + 4], "little")
        size = int.from_bytes(data[position + 5 : position + 8], "little")
        end = position + 8 + packed
        chunks.append(Chunk(position, end, data[position + 4], size))
        position = end
    return chunks


def unpack(xorb: bytes, chunk: Chunk) -> bytes:
    data = xorb[chunk.start + 8 : chunk.end]
    if chunk.scheme == 0:
        return data
    data = pyarrow.input_stream(pyarrow.py_buffer(data), compression="lz4").read()
    if chunk.scheme == 1:
        return data
    # Scheme 2 first sorts the bytes by their position within groups of four.
    plain, start = bytearray(len(data)), 0
    for lane in range(4):
        count = len(range(lane, len(data), 4))
        plain[lane::4] = data[start : start + count]
        start += count
    return bytes(plain)


def read_shard(data: bytes) -> list[dict]:
    """The files of a shard: hash, sha256, and terms (xorb, first chunk, end chunk)."""
    files, position = [], ENTRY
    while data[position : position + 32] != BOOKEND:
        digest, flags, count = struct.unpack_from("<32sII", data, position)
        position += ENTRY
        terms = []
        for i in range(count):
            xorb, _, _, first, end = struct.unpack_from("<32s4I", data, position + i * ENTRY)
            terms.append((hex_of(xorb), first, end))
        position += count * ENTRY * (2 if flags & WITH_VERIFICATION else 1)
        if not flags & WITH_SHA256:
            raise HubError(400, "A file of a repo needs its SHA-256")
        sha256 = hex_of(data[position : position + 32])
        position += ENTRY
        files.append({"hash": hex_of(digest), "sha256": sha256, "terms": terms})
    return files


def check_token(hub, request: Request, scope: str) -> None:
    """The storage knows its own short-lived tokens only, never the Hub's."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token not in ("xet-write", f"xet-{scope}"):
        raise HubError(401, "Not a token of the storage")


@route("GET", "/api/{t}/{R}/xet-(?P<scope>read|write)-token/{rev}")
def token(hub, request: Request, type: str, id: str, scope: str, rev: str) -> JSONResponse:
    access = "read" if scope == "read" else "propose" if flag(request, "create_pr") else "write"
    find_repo(hub, request, type, id, access)
    expires = int(time.time()) + 3600
    headers = {
        "X-Xet-Cas-Url": hub.cdn,
        "X-Xet-Access-Token": f"xet-{scope}",
        "X-Xet-Token-Expiration": str(expires),
    }
    content = {"casUrl": hub.cdn, "accessToken": f"xet-{scope}", "exp": expires}
    return JSONResponse(content, headers=headers)


@route("POST", "/v1/xorbs/default/{name}")
async def put_xorb(hub, request: Request, name: str) -> dict:
    check_token(hub, request, "write")
    path = hub.store.xorb_path(name)
    if path.is_file():
        return {"was_inserted": False}
    path.write_bytes(await request.body())
    return {"was_inserted": True}


@route("GET", "/xorbs/{name}")
def get_xorb(hub, request: Request, name: str) -> FileResponse:
    """Behind a signed address, so without any token."""
    return FileResponse(hub.store.xorb_path(name))


@route("POST", "/v1/shards")
async def put_shard(hub, request: Request) -> dict:
    check_token(hub, request, "write")
    for file in read_shard(await request.body()):
        content = b"".join(
            unpack(hub.store.xorb_path(xorb).read_bytes(), chunk)
            for xorb, first, end in file["terms"]
            for chunk in chunks_of(hub.store.xorb_path(xorb))[first:end]
        )
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise HubError(400, "The chunks do not make up the file")
        hub.store.put(content)
        hub.store.save_xet(file)
    return {"result": 1}


@route("GET", "/v1/reconstructions/{name}")
def reconstruction(hub, request: Request, name: str) -> dict:
    """How to rebuild a range of a file, cut at chunks."""
    check_token(hub, request, "read")
    file = hub.store.xet_file(name)
    pieces = [
        (xorb, index, chunk)
        for xorb, first, end in file["terms"]
        for index, chunk in enumerate(chunks_of(hub.store.xorb_path(xorb)))
        if first <= index < end
    ]
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "bytes=0-"))
    first, last = int(wanted[1]), int(wanted[2] or 1 << 62)
    if first >= sum(chunk.size for _, _, chunk in pieces):
        raise HubError(416, "The range starts behind the end of the file")
    terms: list[dict] = []
    position, skipped = 0, None
    for xorb, index, chunk in pieces:
        start, position = position, position + chunk.size
        if position <= first or start > last:
            continue
        skipped = first - start if skipped is None else skipped
        if not (terms and terms[-1]["hash"] == xorb and terms[-1]["range"]["end"] == index):
            new = {"hash": xorb, "unpacked_length": 0, "range": {"start": index, "end": index}}
            terms.append(new)
        terms[-1]["unpacked_length"] += chunk.size
        terms[-1]["range"]["end"] = index + 1
    fetch = {xorb: [fetch_info(hub, xorb, terms)] for xorb in {term["hash"] for term in terms}}
    return {"offset_into_first_range": skipped or 0, "terms": terms, "fetch_info": fetch}


def fetch_info(hub, xorb: str, terms: list[dict]) -> dict:
    """One stretch of a xorb that holds whatever the terms need of it."""
    ranges = [term["range"] for term in terms if term["hash"] == xorb]
    first, end = min(r["start"] for r in ranges), max(r["end"] for r in ranges)
    chunks = chunks_of(hub.store.xorb_path(xorb))
    return {
        "range": {"start": first, "end": end},
        "url": f"{hub.cdn}/xorbs/{xorb}",
        "url_range": {"start": chunks[first].start, "end": chunks[end - 1].end - 1},
    }
