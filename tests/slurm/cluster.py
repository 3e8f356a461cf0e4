"""A real SLURM on this machine: one controller and two nodes of two GPUs that are only names.

No systemd, no database, nothing that listens beyond the loopback; every daemon is stopped by its pid.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# written by longspan's tests"
NODES = ("n1", "n2")
PROGRAMS = ("slurmctld", "slurmd", "munged", "setpriv", "sbatch", "squeue")
DAEMONS = ("munged", "slurmctld", "n1", "n2")


def why_not() -> str:
    """Why no cluster can be started here; empty if it can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(missing)} (apt-get install slurm-wlm munge)"
    if os.geteuid():
        return "needs root, to start SLURM's daemons"
    for path in (ETC / "slurm.conf", ETC / "gres.conf", ETC / "cgroup.conf"):
        if path.exists() and not path.read_text().startswith(MARK):
            return f"{path} is there and is not of these tests"
    return ""


@dataclass(frozen=True)
class Job:
    """A job as squeue shows it."""

    number: str
    state: str
    comment: str
    node: str


class Cluster:
    """The daemons, as a context manager; their files lie in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> "Cluster":
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        self._configure()
        try:
            self._start_munge()
            self.start("slurmctld", "slurmctld")
            for node in NODES:
                self.start(node, "slurmd", "-N", node)
            self.wait_for_nodes("idle")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        subprocess.run(["scancel", "--user", "root"], timeout=30, check=False)
        for name in reversed(DAEMONS):
            self.stop(name)
        for path in ETC.glob("*.conf"):
            if path.read_text().startswith(MARK):
                path.unlink()

    def start(self, name: str, *command: str) -> None:
        """Start a daemon, which goes into the background and writes its pid."""
        subprocess.run(command, check=True, timeout=30)
        deadline = time.monotonic() + 20
        while not self._pid(name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} wrote no pid; see {self.folder}")
            time.sleep(0.1)

    def stop(self, name: str, how: int = signal.SIGTERM) -> None:
        """End a daemon by its pid and wait until it has ended."""
        if not (pid := self._pid(name)):
            return
        os.kill(pid, how)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def crash(self, node: str) -> None:
        """End a node's daemon and all that runs there at once, as if its power failed."""
        self.stop(node, signal.SIGKILL)
        mark = f"SLURMD_NODENAME={node}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or is not ours
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    def wait_for_nodes(self, state: str, seconds: float = 30) -> None:
        """Wait until both nodes are in a state."""
        deadline = time.monotonic() + seconds
        while (found := _output("sinfo", "-h", "-N", "-o", "%T").split()) != 4 * [state]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nodes are {found}, not {state}; see the logs in {self.folder}")
            time.sleep(0.2)

    def jobs(self, states: str = "all") -> list[Job]:
        """Jobs that the controller knows, ended ones too, in order."""
        lines = _output("squeue", "-h", f"--states={states}", "-o", "%i|%T|%k|%N").splitlines()
        return sorted((Job(*line.split("|")) for line in lines), key=lambda job: int(job.number))

    def _pid(self, name: str) -> int | None:
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        (folder / "key").write_bytes(os.urandom(128))
        (folder / "key").chmod(0o600)
        for path in (folder, folder / "key"):
            shutil.chown(path, "munge", "munge")
        options = [f"--{name}={folder / file}" for name, file in _MUNGE.items()]
        user = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"]
        subprocess.run([*user, "munged", "--force", *options], check=True, timeout=30)
        (self.folder / "munged.pid").symlink_to(folder / "pid")

    def _configure(self) -> None:
        devices = self.folder / "devices"
        devices.mkdir()
        for number in range(2):
            os.mknod(devices / f"nvidia{number}", 0o666 | 0o020000, os.makedev(1, 3))
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={16818 + place} CPUs=32 "
            "RealMemory=200000 Gres=gpu:2 State=UNKNOWN"
            for place, node in enumerate(NODES)
        )
        files = {
            "slurm.conf": _SLURM.format(host=host, folder=self.folder, nodes=nodes),
            "gres.conf": f"AutoDetect=off\nNodeName=n[1-2] Name=gpu File={devices}/nvidia[0-1]\n",
            "cgroup.conf": "CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n",
        }
        ETC.mkdir(exist_ok=True)
        for name, text in files.items():
            (ETC / name).write_text(f"{MARK}\n{text}")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


_MUNGE = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
# The nodes claim more processors and memory than the machine has, so that the rules' requests fit.
_SLURM = """
ClusterName=longspan
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
AccountingStoreFlags=job_comment
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
MinJobAge=1800
KillWait=5
JobRequeue=0
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP
"""
