"""The tutorial's file is fetched once, resumed where it was cut off, and verified."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data import DataError, PublishedFile, download, synthetic


class Server(http.server.ThreadingHTTPServer):
    """Serves one file from memory, as well or as badly as it is told."""

    content = b""
    etag = '"1"'
    ranges = True
    status = 200
    cut_after: int | None = None
    ranges_asked: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges_asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        same = self.headers.get("If-Range", server.etag) == server.etag
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            total = len(server.content)
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def content() -> bytes:
    return synthetic(3, rows=2000, positives=20).to_csv(index=False).encode()


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges_asked = []
    server.content = content
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(server: Server) -> PublishedFile:
    size = len(server.content)
    url = f"http://127.0.0.1:{server.server_port}/rows.csv"
    return PublishedFile(url, size - 10, size + 10, negatives=1980, positives=20)


def refusal(file: PublishedFile, cache: Path) -> str:
    with pytest.raises(DataError) as caught:
        download(file, cache, progress=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_file_is_cached_and_fetched_once(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """The second call asks the server nothing."""
    path = download(published, tmp_path, progress=False)
    assert path.read_bytes() == server.content
    assert download(published, tmp_path, progress=False) == path
    assert server.ranges_asked == [None]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv", "rows.csv.verified"]


def test_a_cut_off_download_is_kept_and_resumed(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """The first call says how far it came; the second asks for the rest alone."""
    server.cut_after = 100_000
    message = refusal(published, tmp_path)
    assert "kept" in message
    assert not (tmp_path / "rows.csv").exists()
    kept = (tmp_path / "rows.csv.part").stat().st_size
    assert 0 < kept <= 100_000
    server.cut_after = None
    assert download(published, tmp_path, progress=False).read_bytes() == server.content
    assert server.ranges_asked == [None, f"bytes={kept}-"]


def test_a_server_without_ranges_starts_over(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """Its answer is the whole file, which replaces the part."""
    server.ranges = False
    server.cut_after = 100_000
    refusal(published, tmp_path)
    server.cut_after = None
    assert download(published, tmp_path, progress=False).read_bytes() == server.content


def test_a_file_that_changed_meanwhile_is_fetched_afresh(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """Two halves of two files are never joined."""
    server.cut_after = 100_000
    refusal(published, tmp_path)
    server.cut_after = None
    server.content = synthetic(4, rows=2000, positives=20).to_csv(index=False).encode()
    server.etag = '"2"'
    wider = replace(published, smallest=0, largest=10**9)
    assert download(wider, tmp_path, progress=False).read_bytes() == server.content


def test_a_part_that_is_already_whole_is_taken(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """The process may have been killed between the last byte and the rename."""
    (tmp_path / "rows.csv.part").write_bytes(server.content)
    assert download(published, tmp_path, progress=False).read_bytes() == server.content


def test_a_part_longer_than_the_file_is_discarded(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """It cannot be a part of it; the next call starts afresh."""
    (tmp_path / "rows.csv.part").write_bytes(server.content + b"more")
    assert "discarded" in refusal(published, tmp_path)
    assert download(published, tmp_path, progress=False).read_bytes() == server.content


def test_an_error_of_the_server_is_told(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """With its number."""
    server.status = 404
    assert "answered 404" in refusal(published, tmp_path)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In one line, not a stack of causes."""
    file = PublishedFile("http://127.0.0.1:9/rows.csv", 0, 1, 1, 1)
    assert "cannot be reached" in refusal(file, tmp_path)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"smallest": 10**7, "largest": 2 * 10**7}, "bytes; expected 10,000,000 to 20,000,000"),
        ({"positives": 21}, "1,980 rows of class 0 and 20 of class 1; expected 1,980 and 21"),
    ],
)
def test_a_file_that_is_not_the_published_one_never_gets_its_name(
    expected: dict[str, int], message: str, published: PublishedFile, tmp_path: Path
) -> None:
    """Wrong size, wrong counts: refused, and the cache stays empty of it."""
    assert message in refusal(replace(published, **expected), tmp_path)
    assert not (tmp_path / "rows.csv").exists()


def test_a_cached_file_that_was_altered_is_noticed(
    server: Server, published: PublishedFile, tmp_path: Path
) -> None:
    """It is verified again, not trusted by its name."""
    path = download(published, tmp_path, progress=False)
    path.write_bytes(server.content[: len(server.content) // 2])
    assert "bytes; expected" in refusal(published, tmp_path)
