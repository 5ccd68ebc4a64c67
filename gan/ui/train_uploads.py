"""Pictures that people drop on the Train page: from Gradio's upload folder into their own.

A browser names the files that it uploaded; here is checked that they really are uploads, that they
are few and small enough, and what they are called is forgotten. Whether they are pictures is found
out, with care, by `gan.training.folders` when the training reads them.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from gan.errors import LabError
from gan.training.pictures import SUFFIXES
from gan.workshop import Owner, Workshop

MOST_FILES = 2000  # in one go; a zip file may hold more
MOST_FILE_MEGABYTES = 64  # what the page's server takes in one file
MOST_BYTES = 512 << 20  # of one person, all data sets together
LONGEST_NAME = 60


def gather(shop: Workshop, owner: Owner, files: list[Any]) -> dict[str, Any]:
    """Moves uploads into a new data set of the person: one zip file, or a folder of pictures.

    → {"source": what a request names, "name", "count": pictures, None for a zip}. Raises LabError.
    """
    if not 0 < len(files) <= MOST_FILES:
        raise LabError("too_many_files", count=len(files), most=MOST_FILES)
    uploads = [_upload(each) for each in files]
    size = sum(path.stat().st_size for path, _ in uploads)
    shop.check_upload(size)
    home = shop.data_folder(owner)
    if size + _size(home) > MOST_BYTES:
        raise LabError("data_too_large", megabytes=size >> 20, most=MOST_BYTES >> 20)
    zips = [path for path, name in uploads if Path(name).suffix.lower() == ".zip"]
    if zips and len(uploads) > 1:
        raise LabError("one_zip_only")
    place = home / secrets.token_hex(6)
    place.mkdir(parents=True)
    if zips:
        source = place / "pictures.zip"
        shutil.move(zips[0], source)
        return {"source": str(source), "name": _shown(uploads[0][1]), "count": None}
    return _folder(place, uploads)


def _folder(place: Path, uploads: list[tuple[Path, str]]) -> dict[str, Any]:
    kept = 0
    for path, name in uploads:
        suffix = Path(name).suffix.lower()
        if suffix in SUFFIXES:
            shutil.move(path, place / f"{kept:05d}{suffix}")
            kept += 1
    if not kept:
        place.rmdir()
        raise LabError("no_pictures_uploaded")
    first = _shown(uploads[0][1])
    return {"source": str(place), "name": first, "count": kept}


def _upload(given: Any) -> tuple[Path, str]:
    """→ an uploaded file's place, and what the person calls it. LabError for any other file."""
    if not isinstance(given, dict):
        raise LabError("bad_request", reason="files")
    path, name = given.get("path"), given.get("name")
    if not isinstance(path, str) or not isinstance(name, str):
        raise LabError("bad_request", reason="files")
    home, found = Path(get_upload_folder()).resolve(), Path(path).resolve()
    if home not in found.parents or not found.is_file():
        raise LabError("not_uploaded")
    if found.stat().st_size > MOST_FILE_MEGABYTES << 20:
        raise LabError("upload_file_too_large", name=_shown(name), most=MOST_FILE_MEGABYTES)
    return found, name


def _shown(name: str) -> str:
    return Path(name.replace("\\", "/")).name[:LONGEST_NAME] or "pictures"


def _size(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
