"""What the measurements of a kept repository have in common: benches/together, benches/half, benches/full and benches/prune.

Always true here: a command that fails where it must not ends the run with its words. The password and the cache are the run's own.
"""
import json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(os.environ.get("BENCH_WORK", Path(tempfile.gettempdir()) / "sheaf-bench"))
ENV = dict(os.environ, PATH=f"{os.environ.get('PEERS', '/opt/peers/bin')}:{ROOT}/target/release:{os.environ['PATH']}", HOME=str(WORK / "home"),
           XDG_CACHE_HOME=str(WORK / "home/cache"), SHEAF_PASSWORD="x", RESTIC_PASSWORD="x", RUSTIC_PASSWORD="x")
for name in ("SHEAF_CACHE", "SHEAF_REPOSITORY"):
    ENV.pop(name, None)
# Every byte of the disk, so that what is restored can be compared with it.
WHOLE = ("--include-free", "--include-scratch")


def fresh():
    """An empty folder to work in."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "home").mkdir(parents=True)


def start(*command, **more):
    """A command that runs beside; both its outputs are kept for `ended`."""
    return subprocess.Popen([str(word) for word in command], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def run(*command, may_fail=False, **more):
    """A command: wall and CPU time in seconds, the most memory in MiB, its status, and what it printed and said."""
    subprocess.run(["sync"], check=True)
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen([str(word) for word in command], env=ENV, stdout=out, stderr=err, **more)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        printed, said = ((stream.seek(0), stream.read().decode(errors="replace"))[1] for stream in (out, err))
    if child.returncode and not may_fail:
        sys.exit(f"{' '.join(map(str, command))}: status {child.returncode}: {said[-2000:]}{printed[-2000:]}")
    return dict(wall=wall, cpu=usage.ru_utime + usage.ru_stime, rss=usage.ru_maxrss / 1024, status=child.returncode, out=printed, err=said)


def sheaf(repo, command, *words, **more):
    """A command of Sheaf on a repository."""
    return run("sheaf", command, "-q", "-r", repo, *words, **more)


def snapshots(repo):
    """The snapshots that are there."""
    return json.loads(sheaf(repo, "snapshots", "--json")["out"])


def stored(repo):
    """Bytes of all files of the repository."""
    return sum(file.stat().st_size for file in Path(repo).rglob("*") if file.is_file())


def same(repo, snapshot, image):
    """Restores a snapshot as a raw disk, and tells whether it is the image to the last byte."""
    target = WORK / "restored.img"
    target.unlink(missing_ok=True)
    sheaf(repo, "restore", snapshot, "--to", target)
    equal = subprocess.run(["cmp", target, image]).returncode == 0
    target.unlink()
    return equal
