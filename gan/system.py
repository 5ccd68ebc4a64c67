"""Where Linux, macOS and Windows differ: processes, priorities, signals, cores.

Nothing here knows about pictures, models or runs.
"""

import contextlib
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_NICENESS = 10
_SAME_START = 2.0  # seconds: two looks at one process differ by less


# Processes that outlive us


@dataclass(frozen=True)
class Process:
    """A process on this machine, for good: numbers are reused, number and start are not."""

    pid: int
    started: float  # see `process_started`


def start_detached(
    args: Sequence[str | Path],
    log: str | Path,
    env: Mapping[str, str] | None = None,
    secret: str | None = None,
    note: Callable[[Process], None] = lambda process: None,
) -> Process:
    """Starts a program that survives this process, its terminal and its Ctrl-C.

    Both of its outputs are appended to the file `log`; `env` is added to our environment. A
    `secret` is a line on its standard input: no argument, no environment and no file holds it.
    `note` is told the process before that gets its secret: what is noted then is never newer than
    what a program writes that waits for one.
    """
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(argument) for argument in args],
            stdin=subprocess.DEVNULL if secret is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            creationflags=_detached_flags(),
            bufsize=0,
        )
    process = Process(child.pid, process_started(child.pid) or 0.0)
    # Someone has to collect its exit status while we live, or it stays behind as a zombie.
    threading.Thread(target=child.wait, name=f"wait-{child.pid}", daemon=True).start()
    with child.stdin or contextlib.nullcontext() as stdin:
        note(process)
        if stdin is not None:
            with contextlib.suppress(OSError):  # it may have ended already
                stdin.write(f"{secret}\n".encode())
    return process


def process_alive(pid: int, started: float) -> bool:
    """Whether the process `pid` that began at `started` still runs: not a later one, no zombie."""
    now = process_started(pid)
    return now is not None and abs(now - started) <= _SAME_START


def process_started(pid: int) -> float | None:
    """When the process `pid` began, in seconds; None where none is running.

    To recognise a process by, not to tell the time: on Linux it is counted from the start of the
    machine (each start has its own zero), because there the times of day of all processes jump
    when the clock is set.
    """
    if pid <= 0:
        return None
    if sys.platform == "linux":
        return _started_by_proc(pid)
    if sys.platform == "win32":
        return _started_by_windows(pid)
    return _started_by_ps(pid)


def this_process() -> Process:
    """Ourselves, for a status file that others read."""
    return Process(os.getpid(), process_started(os.getpid()) or 0.0)


def end_process(process: Process, force: bool = False) -> bool:
    """Asks a detached process and its children to end, or with `force` ends them; False if gone.

    Windows can't ask a process without a window: there, only `force` does anything.
    """
    if not process_alive(process.pid, process.started):
        return False
    if sys.platform == "win32":
        if force:
            command = ["taskkill", "/pid", str(process.pid), "/t", "/f"]
            subprocess.run(command, capture_output=True, check=False)
        return True
    with contextlib.suppress(ProcessLookupError):  # it ended since we looked
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
    return True


def wait_gone(process: Process, seconds: float) -> bool:
    """Waits until a process has ended, `seconds` at most; whether it has."""
    deadline = time.monotonic() + seconds
    while process_alive(process.pid, process.started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _detached_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0


def _started_by_proc(pid: int) -> float | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    if state in "ZX":
        return None
    return _boot_number() + int(fields[18]) / os.sysconf("SC_CLK_TCK")


def _boot_number() -> int:
    """A number that this start of the machine has and no other; 0 where it is kept from us."""
    try:
        named = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        return int(named[:8], 16)
    except (OSError, ValueError):
        return 0


def _started_by_ps(pid: int) -> float | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = shown.stdout.strip().partition(" ")
    if not started or state.startswith("Z"):
        return None
    return time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y"))


def _started_by_windows(pid: int) -> float | None:
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes

    kernel, created, other = ctypes.windll.kernel32, ctypes.c_uint64(), ctypes.c_uint64()
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(0x1000, False, pid))  # QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    exited, ignored = ctypes.c_uint64(), ctypes.byref(other)
    times = (ctypes.byref(created), ctypes.byref(exited), ignored, ignored)
    known = kernel.GetProcessTimes(handle, *times)
    kernel.CloseHandle(handle)
    if not known or exited.value:
        return None
    return created.value / 1e7 - 11_644_473_600  # 100 ns since 1601 → seconds since 1970


# Being a good neighbour


def lower_priority() -> None:
    """Lets everyone else go first. Call it before threads start: Linux lowers only what follows.

    Linux also shares its cores out by session, whatever the processes in it say of themselves:
    a training that is detached, in a session of its own, has to lower the session too. (Measured
    with two cores: without it, the page and a training had equal halves.)
    """
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), 0x4000)  # BELOW_NORMAL
    else:
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, max(now, _NICENESS))
        if os.getsid(0) == os.getpid():
            with contextlib.suppress(OSError):  # not Linux, or a kernel without such groups
                Path("/proc/self/autogroup").write_text(str(_NICENESS), encoding="ascii")


def lower_thread_priority() -> None:
    """Lets the other threads of this process go first: this one, and those that it will start.

    Linux only, where each thread has a priority of its own; elsewhere it does nothing.
    """
    if sys.platform == "linux":
        lower_priority()


class StopRequest:
    """Whether someone asked us to stop, by Ctrl-C or SIGTERM."""

    requested = False


@contextlib.contextmanager
def graceful_signals() -> Iterator[StopRequest]:
    """Inside, the first SIGINT or SIGTERM only sets `.requested`; a second one interrupts.

    Outside the main thread signals can't be caught, and the flag stays down.
    """
    stop = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in _stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_signals() -> list[signal.Signals]:
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    return [signal.SIGINT, signal.SIGTERM]


# What this machine has


def usable_cores() -> int:
    """Cores this process may really use: its affinity, and a container's quota (Linux)."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return max(1, min(len(os.sched_getaffinity(0)), int(min(_container_quota(), 1e6))))


def processor_name() -> str:
    """The processor's name as its maker gives it, or as near as the system knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """The most memory that this process has held at once, in bytes; None where nobody counts."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _container_quota(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores' worth of time that the control group allows (version 2, then 1); infinite if free."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text(encoding="utf-8").split()
        return float(quota) / float(period) if quota != "max" else math.inf
    with contextlib.suppress(OSError, ValueError):
        quota = float((cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = float((cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="utf-8"))
        return quota / period if quota > 0 else math.inf
    return math.inf
