"""`.keras`: a zip of `metadata.json`, `config.json` and `model.weights.h5`."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import PurePosixPath

from torch_impl.keras_files.contents import KerasFileError
from torch_impl.keras_files.ledger import Ledger

__all__ = ["Archive"]

_MEMBERS = 1_000
_LARGEST_DIRECTORY = 1 << 18  # 260 bytes for each of as many
_UNPACKED = 16 << 20  # bytes, or twice the file where that is more
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class Archive:
    """The members of a zip, by name, checked before anything is read.

    Args:
        content: of the whole file.
        where: its name, for errors.

    Raises:
        KerasFileError: it is no zip, or has members that Keras does not write: twice the same
            name, a name that leads out of a folder, or encrypted.
    """

    def __init__(self, content: memoryview, where: str) -> None:
        self._content, self._where = content, where
        self._ledger = Ledger(len(content), where)
        self._unpacked = max(_UNPACKED, 2 * len(content))
        try:
            with zipfile.ZipFile(_View(content)) as opened:
                members = opened.infolist()
        except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError,
                UnicodeDecodeError, OverflowError, EOFError) as error:  # fmt: skip
            raise KerasFileError(f"{where}: damaged zip ({error})") from None
        if len(members) > _MEMBERS:
            raise KerasFileError(f"{where}: a zip of {len(members)} members")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = PurePosixPath(member.filename)
            if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
                raise KerasFileError(f"{where}: the member {member.filename[:80]!r}: refused")
            if member.filename in self._members:
                raise KerasFileError(f"{where}: the member {member.filename[:80]!r} stands twice")
            if member.flag_bits & 1:
                raise KerasFileError(f"{where}: the member {member.filename[:80]!r} is encrypted")
            self._members[member.filename] = member

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> memoryview:
        """A member's content, its checksum verified.

        Raises:
            KerasFileError: it is missing or damaged, or grows out of all proportion.
        """
        where = f"{self._where}: {name}"
        if name not in self._members:
            raise KerasFileError(f"{where} is missing")
        member = self._members[name]
        at = member.header_offset
        header = self._content[at : at + _LOCAL_HEADER.size]
        if len(header) != _LOCAL_HEADER.size or bytes(header[:4]) != b"PK\3\4":
            raise KerasFileError(f"{where}: no zip member at byte {at}")
        *_, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        start = at + _LOCAL_HEADER.size + name_size + extra_size
        end = start + member.compress_size
        self._ledger.claim(at, end - at, name)
        data = self._content[start:end]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            if member.file_size > self._unpacked:
                raise KerasFileError(
                    f"{where}: would unpack to {member.file_size} bytes; expected at most "
                    f"{self._unpacked}, or stored as Keras stores it"
                )
            self._unpacked -= member.file_size
            unpacker = zlib.decompressobj(-15)
            try:
                data = memoryview(unpacker.decompress(data, member.file_size + 1))
            except zlib.error as error:
                raise KerasFileError(f"{where}: damaged ({error})") from None
        elif member.compress_type != zipfile.ZIP_STORED:
            raise KerasFileError(f"{where}: compression {member.compress_type}: not supported")
        if len(data) != member.file_size:
            raise KerasFileError(
                f"{where}: {len(data)} bytes or more; the zip says {member.file_size}"
            )
        if zlib.crc32(data) != member.CRC:
            raise KerasFileError(f"{where}: fails its checksum")
        return data


class _View:
    """A memoryview as the file that `zipfile` wants, without a copy."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._content))[whence]
        if at < 0:
            raise OSError(f"byte {at}")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_DIRECTORY:
            raise OSError(f"a directory of {size} bytes; expected at most {_LARGEST_DIRECTORY}")
        end = len(self._content) if size < 0 else self._at + size
        data = bytes(self._content[self._at : end])
        self._at += len(data)
        return data
