"""Cached files that are believed only as they were written, damaged files that are named, and bounded unpacking."""

import csv
import gzip
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from hipposeg import files
from hipposeg.files import DamagedError


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", bytes(range(256))])
def test_a_cached_file_comes_back_as_it_was_written_or_not_at_all(tmp_path, caplog, content):
    path = tmp_path / "folder" / "cached"
    assert files.read_cached(path) is None and not caplog.text
    files.write_cached(path, content)
    whole = path.read_bytes()
    assert files.read_cached(path) == content and not caplog.text
    damaged = [whole[:size] for size in range(len(whole))] + [whole + b"x", whole[1:]]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for one in damaged:
        path.write_bytes(one)
        caplog.clear()
        assert files.read_cached(path) is None and f"{path} is damaged" in caplog.text


def test_a_hash_that_stands_elsewhere(tmp_path, caplog):
    path = tmp_path / "plain"
    path.write_bytes(b"content")
    assert files.read_cached(path, files.sha256_file(path)) == b"content" and not caplog.text
    assert files.read_cached(path, files.sha256_bytes(b"other")) is None and f"{path} is damaged" in caplog.text


def test_mapped_arrays_come_back_as_they_were_written_or_are_made_again(tmp_path, caplog):
    arrays, count = (np.arange(24.0).reshape(2, 3, 4), np.ones((3, 4), np.uint8)), []
    paths = [tmp_path / "folder" / "a.npy", tmp_path / "folder" / "b.npy"]

    def found():
        return files.cached_arrays(paths, lambda: count.append(1) or arrays)

    def same():
        return all(
            isinstance(one, np.memmap) and np.array_equal(one, array)
            for one, array in zip(found(), arrays, strict=True)
        )

    assert same() and same() and len(count) == 1 and not caplog.text
    for path in list((tmp_path / "folder").iterdir()):
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"x"):
            path.write_bytes(damaged)
            caplog.clear()
            assert same() and path.read_bytes() == whole and "is damaged" in caplog.text
        path.unlink()
        assert same() and path.read_bytes() == whole
    assert len(count) == 1 + 4 * 5


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), csv.Error("f"), EOFError(), zlib.error("b"), gzip.BadGzipFile("c"), zipfile.BadZipFile("d")],
)
def test_what_a_reader_raises_names_the_file_and_the_remedy(tmp_path, error):
    words = rf"{tmp_path}: found a damaged file \(.+\), expected a table\. Restore it with git, or delete it"
    with pytest.raises(DamagedError, match=words) as caught, files.reading(tmp_path, "a table"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=f"{path}: found a damaged file"):
        files.read_json(path)


def test_a_full_disk_has_the_name_of_the_file(tmp_path):
    with pytest.raises(OSError) as caught, files.replacing(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.csv") and not list(tmp_path.iterdir())


def test_gzip_is_unpacked_as_by_the_library_and_never_beyond_the_limit():
    content = np.random.default_rng(0).integers(0, 4, 50_000).astype(np.uint8).tobytes()
    packed = gzip.compress(content)
    assert files.gunzip(packed, len(content)) == files.gunzip(packed, 10**9) == content
    two = gzip.compress(content[:7]) + gzip.compress(content[7:]) + bytes(512)
    assert files.gunzip(two, len(content)) == gzip.decompress(two) == content
    for damaged in (packed[:-1], packed[:-9], packed[:20], packed[:-8] + bytes(8), two[:-1] + b"x"):
        with pytest.raises((EOFError, zlib.error)):
            files.gunzip(damaged, 10**9)
    for most in (0, 6, 7, len(content) - 1):
        with pytest.raises(ValueError, match=f"more than {most} bytes"):
            files.gunzip(two, most)


def test_a_bomb_takes_no_more_memory_than_the_limit():
    bomb = gzip.compress(bytes(1 << 28))
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        files.gunzip(bomb, 1 << 20)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 23


def test_printable_text_cannot_steer_a_terminal():
    assert files.printable("é ³ 体\nline") == "é ³ 体\nline"
    assert files.printable("a\x1b[2Jb\r\x07\x9b\u202e") == "a\\x1b[2Jb\\r\\x07\\x9b\\u202e"
    assert files.printable("caf\udce9") == "caf\\udce9"
