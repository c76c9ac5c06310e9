"""SQLite on a network file system is refused, with what to do."""

from pathlib import Path

import pytest

from search import file_systems
from search.errors import StorageError
from search.file_systems import file_system, refuse_network
from search.ledger import Ledger

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
tmpfs /home/me/scratch tmpfs rw 0 0
//nas/share /mnt/my\\040share cifs rw 0 0
me@host:/ /mnt/far fuse.sshfs rw 0 0
lustre /scratch lustre rw 0 0
odd
host /mnt/c 9p rw 0 0
/dev/vdb /scratch/local xfs rw 0 0
server:/again /scratch/local nfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of mounts that is looked at."""
    file = tmp_path / "mounts"
    file.write_text(MOUNTS)
    monkeypatch.setattr(file_systems, "MOUNTS", file)
    return file


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/data/runs/x/study.db", "ext4"),
        ("/home/me/runs/x/study.db", "nfs4"),
        ("/home/me/scratch/study.db", "tmpfs"),
        ("/homes/study.db", "ext4"),
        ("/mnt/my share/study.db", "cifs"),
        ("/mnt/far/study.db", "fuse.sshfs"),
        ("/scratch/x/study.db", "lustre"),
        ("/scratch/local/study.db", "nfs"),  # mounted over what was there
        ("/mnt/c/study.db", "9p"),
    ],
)
def test_the_innermost_mount_counts(mounts: Path, place: str, kind: str) -> None:
    assert file_system(Path(place))[0] == kind
    if kind in ("ext4", "tmpfs"):
        refuse_network(Path(place))
        return
    with pytest.raises(
        StorageError, match=rf"study.db: lies on a network .*\({kind}\).*--out DIR"
    ):
        refuse_network(Path(place))


def test_what_is_not_known_is_not_refused(mounts: Path) -> None:
    mounts.write_text("none / 9p rw 0 0\n")
    refuse_network(Path("/x/study.db"))
    mounts.unlink()
    assert file_system(Path("/x")) == ("", Path("/"))
    refuse_network(Path("/x/study.db"))


def test_this_machine_is_read() -> None:
    assert file_system(Path("/proc/self"))[0] == "proc"


def test_a_ledger_there_is_refused_before_it_is_made(mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(f"server:/x {tmp_path} nfs rw 0 0\n")
    with pytest.raises(StorageError, match="network file system"):
        Ledger(f"sqlite:///{tmp_path / 'study.db'}")
    assert not (tmp_path / "study.db").exists()
