"""gan.system: processes that survive us, signals that wait."""

import errno
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gan import system
from tests.waiting import PROJECT, posix_only, python, run, wait_until

# Processes


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    ourselves = system.this_process()
    assert ourselves.pid == os.getpid()
    assert ourselves.started == system.process_started(os.getpid())
    assert system.process_alive(ourselves.pid, ourselves.started)
    assert not system.process_alive(ourselves.pid, ourselves.started - 60), "a reused number"
    assert not system.process_alive(0, 0.0)
    assert not system.process_alive(2**22 + 1, ourselves.started), "beyond the last number"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a start is stored, not computed")
def test_a_clock_that_is_set_changes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux counts a start from the machine's own, whose time of day moves with the clock."""
    ourselves, read = system.this_process(), Path.read_text

    def an_hour_later(path: Path, *about: object, **more: object) -> str:
        content = read(path, *about, **more)  # pyright: ignore[reportArgumentType]
        if str(path) == "/proc/stat":
            content = re.sub(r"btime (\d+)", lambda m: f"btime {int(m[1]) + 3600}", content)
        return content

    monkeypatch.setattr(Path, "read_text", an_hour_later)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert system.process_alive(ourselves.pid, ourselves.started)
    assert system.this_process() == ourselves


@posix_only
def test_ps_knows_when_a_process_began() -> None:
    """What other systems go by."""
    by_ps = system._started_by_ps(os.getpid())
    assert by_ps is not None
    assert time.time() - 24 * 3600 < by_ps <= time.time() + 2
    assert system._started_by_ps(2**22 + 1) is None


@posix_only
def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(python("input()"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    started = system.process_started(child.pid)
    assert started is not None
    child.kill()
    wait_until(lambda: not system.process_alive(child.pid, started))
    assert system._started_by_ps(child.pid) is None
    assert child.poll() is None or child.returncode < 0
    child.communicate()


def test_a_detached_process_logs_and_gets_our_environment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = "import os, sys; print(os.environ['HUE']); print('oops', file=sys.stderr)"
    child = system.start_detached(python(script), log, {"HUE": "teal"})
    wait_until(lambda: not system.process_alive(child.pid, child.started))
    assert sorted(log.read_text().split()) == ["before", "oops", "teal"]
    assert not system.end_process(child), "already gone"


def test_what_is_noted_is_older_than_what_the_process_does_with_its_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "print('begun', flush=True); print(input())"
    noted: list[system.Process] = []

    def note(process: system.Process) -> None:
        wait_until(lambda: log.read_text().split())
        assert log.read_text().split() == ["begun"]
        noted.append(process)

    child = system.start_detached(python(script), log, secret="hush", note=note)
    wait_until(lambda: not system.process_alive(child.pid, child.started))
    assert log.read_text().split() == ["begun", "hush"]
    assert noted == [child]


def test_a_process_that_could_not_be_noted_gets_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def note(process: system.Process) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room"):
        system.start_detached(python("print(input())"), log, secret="hush", note=note)
    wait_until(lambda: "EOFError" in log.read_text())


def test_a_detached_process_survives_the_one_that_started_it(tmp_path: Path) -> None:
    starter = f"""
import sys
from gan import system
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
child = system.start_detached(sleeper, {str(tmp_path / "log")!r})
print(child.pid, child.started)
"""
    ended = run(starter)
    assert ended.stderr == ""
    pid, started = ended.stdout.split()
    child = system.Process(int(pid), float(started))
    try:
        assert system.process_alive(child.pid, child.started)
    finally:
        assert system.end_process(child, force=True)
    wait_until(lambda: not system.process_alive(child.pid, child.started))


@posix_only
def test_ending_reaches_the_children_and_force_reaches_the_deaf(tmp_path: Path) -> None:
    script = f"""
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(grandchild.pid) + ".")
time.sleep(60)
"""
    child = system.start_detached(python(script), tmp_path / "log")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()[-1:] == ".")
    grandchild = int((tmp_path / "pid").read_text()[:-1])
    assert system.end_process(child)
    time.sleep(0.2)
    assert system.process_alive(child.pid, child.started), "it ignores SIGTERM"
    assert system.end_process(child, force=True)
    wait_until(lambda: not system.process_alive(child.pid, child.started))
    wait_until(lambda: system.process_started(grandchild) is None)


# Neighbours and signals


@posix_only
def test_lower_priority_twice_is_as_good_as_once() -> None:
    script = """
import os
from gan.system import lower_priority
lower_priority(); lower_priority()
print(os.getpriority(os.PRIO_PROCESS, 0))
"""
    shown = run(script)
    assert int(shown.stdout) == max(10, os.getpriority(os.PRIO_PROCESS, 0))


AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.skipif(not AUTOGROUP.is_file(), reason="this kernel shares cores by process alone")
@pytest.mark.parametrize("own_session", [True, False])
def test_a_session_of_its_own_is_lowered_as_a_whole(own_session: bool) -> None:
    """Else nice has no effect on a detached training; a terminal's session stays as it is."""
    script = f"""
from pathlib import Path
from gan.system import lower_priority
lower_priority()
print(Path("{AUTOGROUP}").read_text())
"""
    shown = subprocess.run(
        python(script),
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
        start_new_session=own_session,
    )
    # "/autogroup-25 nice 10"; a session that was here before such groups were has an empty file
    if own_session:
        assert shown.stdout.split()[-1] == "10"
    else:
        assert shown.stdout.split() == AUTOGROUP.read_text(encoding="ascii").split()


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with system.graceful_signals() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_signals_are_put_back_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), system.graceful_signals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_caught() -> None:
    flags: list[bool] = []

    def work() -> None:
        with system.graceful_signals() as stop:
            flags.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [False]


# Cores


def test_the_most_memory_is_counted_in_bytes() -> None:
    most = system.peak_memory()
    assert most is None or 5 * 2**20 < most < 2**40


def test_cores_and_processor_are_known() -> None:
    assert 1 <= system.usable_cores() <= (os.cpu_count() or 1)
    assert system.processor_name()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ({}, math.inf),
        ({"cpu.max": ""}, math.inf),
    ],
)
def test_a_container_quota_is_obeyed(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert system._container_quota(tmp_path) == cores


@pytest.mark.skipif(sys.platform != "linux", reason="containers with quotas are Linux's")
@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (2.9, 2), (math.inf, 4)])
def test_a_part_of_a_core_is_no_core(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    monkeypatch.setattr(system, "_container_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert system.usable_cores() == cores
