"""The transfer of one large file from the Hub, by a client that may be cut at any byte.

What has arrived stays in a partial file beside the place where the file will be; the next request,
of this call or of another program tomorrow, asks for the rest. The whole is compared with the hash
that the Hub gave for it before it counts as there. Which file, and where to: see `gan.loading.hub`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.loading.policy import MEGABYTE, Policy
from gan.loading.sniffing import names_diffusion

if TYPE_CHECKING:
    from gan.loading.hub_names import HubFile

Progress = Callable[[int, int | None], None]  # bytes that are here, bytes in all; may raise to stop

SECONDS = 10.0  # without a byte
RETRIES = 4  # after a cut, without one new byte
_CHUNK = 2**18
_HEAD = 2**20  # bytes that show what a file is
_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MARKUP = re.compile(rb"\s*<(?:!doctype\s+html|html|\?xml)", re.IGNORECASE)


def check_size(file: str, size_bytes: int | None, policy: Policy) -> None:
    """LabError for a file that is larger than the host lets in."""
    if size_bytes is not None and size_bytes > policy.hub_most_bytes:
        raise LabError(
            "hub_too_large",
            file=file,
            megabytes=round(size_bytes / MEGABYTE),
            most=policy.hub_most_bytes // MEGABYTE,
        )


def transfer(
    url: str,
    blob: Path,
    size: int | None,
    found: HubFile,
    policy: Policy,
    token: str | bool,
    progress: Progress | None,
) -> None:
    """url → blob, by way of a partial file that outlives a cut and this program."""
    import httpx2

    part = blob.with_name(f"{blob.name}.latent-lab.part")
    failures, is_looked_at = 0, False
    while True:
        before = _length(part)
        try:
            for here in _stream(url, part, size, token):
                check_size(found.file, here, policy)
                if not is_looked_at and here >= min(size or _HEAD, _HEAD):
                    refuse_diffusion(part, found)
                    is_looked_at = True
                if progress:
                    progress(here, size)
            break
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError) as error:
            failures = failures + 1 if _length(part) == before else 0
            if failures > RETRIES:
                megabytes = round(_length(part) / MEGABYTE, 1)
                raise LabError("hub_cut", file=found.file, megabytes=megabytes) from error
            _pause(failures)
    try:
        _check_content(part, blob.name, size, found)
    except LabError:
        part.unlink()
        raise
    part.replace(blob)


def _stream(url: str, part: Path, size: int | None, token: str | bool) -> Iterator[int]:
    """One request: appends to `part` what is missing; gives the length so far."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    here = _length(part)
    if size is not None and here > size:
        part.unlink()
        here = 0
    if size is not None and here == size:
        return
    headers = build_hf_headers(token=token) | {"Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    with get_session().stream("GET", url, headers=headers, timeout=SECONDS) as response:
        if response.status_code == 416:  # it is shorter than what we have: begin anew
            part.unlink()
            yield from _stream(url, part, size, token)
            return
        hf_raise_for_status(response)
        goes_on = response.status_code == 206
        here = here if goes_on else 0
        yield here
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_raw(_CHUNK):
                file.write(chunk)
                file.flush()
                here += len(chunk)
                yield here


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _pause(failures: int) -> None:
    time.sleep(min(8, 0.5 * 2**failures))


def _check_content(part: Path, etag: str, size: int | None, found: HubFile) -> None:
    """LabError unless `part` is what the Hub announced."""
    with part.open("rb") as file:
        refuse_page(file.read(512), found)
    length = _length(part)
    if size is not None and length != size:
        raise LabError("hub_changed", file=found.file, repo=found.repo)
    wanted = {hash_ for hash_ in (etag, found.sha256) if hash_}
    for digest in wanted:
        if _SHA256.fullmatch(digest) and _hash(part, hashlib.sha256()) != digest:
            raise LabError("hub_changed", file=found.file, repo=found.repo)
    if _GIT.fullmatch(etag):  # git's own name of a small file
        begun = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
        if _hash(part, begun) != etag:
            raise LabError("hub_changed", file=found.file, repo=found.repo)


def _hash(path: Path, begun: Any) -> str:
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            begun.update(chunk)
    return begun.hexdigest()


def refuse_diffusion(part: Path, found: HubFile) -> None:
    """Some thousand megabytes needn't come before it is known that they are no GAN."""
    with part.open("rb") as file:
        is_diffusion = names_diffusion(file.read(_HEAD))
    if is_diffusion:
        part.unlink()
        raise LabError("looks_like_diffusion", path=f"{found.repo}:{found.file}")


def refuse_page(start: bytes, found: HubFile) -> None:
    """What is sometimes saved in place of a model."""
    if start.startswith(_LFS_POINTER):
        raise LabError("hub_lfs_pointer", file=found.file, repo=found.repo)
    if _MARKUP.match(start):
        raise LabError("hub_html_page", file=found.file, repo=found.repo)
