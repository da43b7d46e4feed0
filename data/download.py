"""Fetches the tutorial's own file, once, and resumes where it was cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import requests
from tqdm import tqdm

from data.errors import DataError
from data.load import load

__all__ = ["TUTORIAL_FILE", "PublishedFile", "download"]

_CHUNK = 1 << 14  # bytes; at most so many are lost when the connection breaks
_TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next bytes


@dataclass(frozen=True)
class PublishedFile:
    """A file and what its publisher says of it."""

    url: str
    smallest: int
    """Bytes."""
    largest: int
    """Bytes."""
    negatives: int
    positives: int

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


TUTORIAL_FILE = PublishedFile(
    "https://storage.googleapis.com/download.tensorflow.org/data/creditcard.csv",
    smallest=150_750_000,  # published as "about 150.8 MB"
    largest=150_850_000,
    negatives=284_315,
    positives=492,
)


def download(
    file: PublishedFile = TUTORIAL_FILE,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """Gives the path of the verified file, fetching it if it is not in the cache.

    A cut-off download is kept beside it as `.part` and resumed by the next call; a file
    that changed on the server meanwhile is fetched afresh. Only a file whose size, columns
    and class counts are the published ones gets its name in the cache.

    Args:
        file: what to fetch and what is known of it.
        cache_dir: where to keep it; the user's cache folder if None.
        progress: whether to show a progress bar on a terminal.

    Raises:
        DataError: the server cannot be reached or refuses, the download was cut off, or
            what came is not the published file.
    """
    folder = Path(cache_dir or platformdirs.user_cache_path("keras-torch-fraud-parity"))
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / file.name, folder / f"{file.name}.part"
    verified = folder / f"{file.name}.verified"
    if _was_verified(target, verified):
        return target
    if not target.exists():
        _fetch(file, part, progress)
        _verify(file, part)
        part.replace(target)
    else:  # put there by hand, or changed since it was verified
        _verify(file, target)
    verified.write_text(json.dumps(_fingerprint(target)))
    return target


def _fingerprint(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _was_verified(target: Path, verified: Path) -> bool:
    try:
        return bool(json.loads(verified.read_text()) == _fingerprint(target))
    except (OSError, ValueError):
        return False


def _verify(file: PublishedFile, path: Path) -> None:
    size = path.stat().st_size
    if not file.smallest <= size <= file.largest:
        raise DataError(
            f"{path}: {size:,} bytes; expected {file.smallest:,} to {file.largest:,}; "
            "delete it to fetch it again"
        )
    labels = load(path)["Class"]
    counts = (int((labels == 0).sum()), int((labels == 1).sum()))
    if counts != (file.negatives, file.positives):
        raise DataError(
            f"{path}: {counts[0]:,} rows of class 0 and {counts[1]:,} of class 1; "
            f"expected {file.negatives:,} and {file.positives:,}; delete it to fetch it again"
        )


def _fetch(file: PublishedFile, part: Path, progress: bool) -> None:
    etag_file = part.with_name(part.name + ".etag")
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if etag_file.exists():  # resume only the very file that was begun
            headers["If-Range"] = etag_file.read_text()
    try:
        with requests.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                total = _total_in_range(response.headers)
                if total == start:
                    return  # it was whole already
                part.unlink()
                raise DataError(
                    f"{file.url}: has {total} bytes now, {start} were here; "
                    "the part was discarded, run again"
                )
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise DataError(
                    f"{file.url}: the server answered {response.status_code} "
                    f"{response.reason}; expected the file"
                )
            resumed = response.status_code == requests.codes.partial_content
            if resumed:
                _check_resumed_at(file.url, start, response.headers)
            start = start if resumed else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            etag = response.headers.get("ETag", "")
            if etag and not etag.startswith("W/"):
                etag_file.write_text(etag)
            else:
                etag_file.unlink(missing_ok=True)
            _store(response, part, start, total, progress)
    except requests.RequestException as error:
        here = part.stat().st_size if part.exists() else 0
        raise DataError(
            f"{file.url}: {_reason(error)}; {here:,} bytes are kept, run again to go on"
        ) from error
    size = part.stat().st_size
    if total is not None and size != total:
        raise DataError(
            f"{file.url}: cut off at {size:,} of {total:,} bytes; they are kept, run again to go on"
        )
    etag_file.unlink(missing_ok=True)


def _store(
    response: requests.Response, part: Path, start: int, total: int | None, progress: bool
) -> None:
    bar = tqdm(
        desc=part.name.removesuffix(".part"),
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
        disable=None if progress else True,
    )
    with bar, part.open("ab" if start else "wb") as stream:
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            bar.update(len(chunk))


def _check_resumed_at(url: str, start: int, headers: Mapping[str, str]) -> None:
    came = headers.get("Content-Range", "")
    if not came.startswith(f"bytes {start}-"):
        raise DataError(f"{url}: resumed with {came!r}; expected 'bytes {start}-…'")


def _total_in_range(headers: Mapping[str, str]) -> int | None:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return " ".join(str(error).split())
