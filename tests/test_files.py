"""gan.files: files that survive a crash, locks, folders."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gan import files
from gan.errors import LabError
from tests.waiting import PROJECT, posix_only, python, run


def test_a_write_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    files.write_atomic(path, b"old")
    files.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@posix_only
def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    files.write_atomic(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), files.atomic_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_the_middle_leaves_the_old_file_and_a_leftover_to_sweep(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    crash = f"""
import os
from gan.files import atomic_file
with atomic_file({str(path)!r}) as file:
    file.write(b"half of a very long checkpoint")
    file.flush()
    os._exit(9)
"""
    assert run(crash).returncode == 9
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert files.sweep_temporaries(tmp_path) == 0, "it may belong to a living writer"
    assert files.sweep_temporaries(tmp_path, older_than_seconds=0) == 1
    assert list(tmp_path.iterdir()) == [path]


@posix_only
def test_the_content_is_on_disk_before_the_name_and_the_name_before_we_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may come after any step: file → rename → folder is the only safe order."""
    path, steps = tmp_path / "model", []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def recording_replace(source: Path, target: Path) -> Path:
        steps.append(f"rename {source.stat().st_size} bytes")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    files.write_atomic(path, b"12345")
    assert steps == ["file", "rename 5 bytes", "folder"]


def test_a_lock_is_held_by_one_thread_or_process(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def hold() -> None:
        with files.file_lock(path):
            order.append("thread")

    thread = threading.Thread(target=hold)
    other = f"""
from gan.files import file_lock
with file_lock({str(path)!r}):
    print("process")
"""
    with files.file_lock(path):
        thread.start()
        process = subprocess.Popen(python(other), stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        time.sleep(0.3)
        assert process.poll() is None
        order.append("first")
    thread.join()
    said, _ = process.communicate(timeout=60)
    assert (order, said) == (["first", "thread"], "process\n")


@posix_only
def test_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    crash = f"""
import os
from gan.files import file_lock
with file_lock({str(path)!r}):
    os._exit(9)
"""
    assert run(crash).returncode == 9
    with files.file_lock(path):
        pass


def test_the_folder_of_runs_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_LAB_RUNS", str(tmp_path / "mine"))
    assert files.user_runs_dir() == tmp_path / "mine"
    monkeypatch.delenv("LATENT_LAB_RUNS")
    assert files.user_runs_dir().parts[-2:] == ("latent-lab", "runs")


def test_sweeping_spares_what_is_not_ours(tmp_path: Path) -> None:
    for name in ("kept.partial", ".hidden", "model"):
        (tmp_path / name).write_bytes(b"")
    assert files.sweep_temporaries(tmp_path, older_than_seconds=0) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_readers_see_the_old_or_the_new_never_a_part(tmp_path: Path) -> None:
    path, versions = tmp_path / "status", [bytes([n]) * 50_000 for n in range(8)]
    files.write_atomic(path, versions[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        for version in versions:
            files.write_atomic(path, version)
    done.set()
    reader.join()
    assert seen
    assert seen <= set(versions)


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "a" / "b"))
    assert files.user_cache_dir() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_a_cache_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(LabError, match="LATENT_LAB_CACHE") as refused:
        files.user_cache_dir()
    assert refused.value.code == "cache_unwritable"


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own place")
def test_the_cache_folder_follows_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LATENT_LAB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert files.user_cache_dir() == tmp_path / ".cache" / "latent-lab"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.user_cache_dir() == tmp_path / "xdg" / "latent-lab"
