"""Whether a file lies on a network file system, where SQLite's locks and WAL do not hold.

Known on Linux, from /proc/mounts; elsewhere nothing is refused.
"""

from pathlib import Path

from .errors import StorageError

NETWORK = frozenset(
    "9p acfs afs beegfs ceph cifs coda fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.rclone "
    "fuse.s3fs fuse.sshfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 panfs pvfs2 smb3 "
    "smbfs".split()
)
"""Types of file systems that several machines may write at once, or that lack shared memory."""
MOUNTS = Path("/proc/mounts")


def refuse_network(file: Path, mounts: Path = MOUNTS) -> None:
    """Raises StorageError for an SQLite file on a network file system."""
    kind = file_system(file, mounts)
    if kind in NETWORK:
        raise StorageError(
            f"{file}: lies on a network file system ({kind}), where SQLite can lose data; keep "
            "the run on a local disk (--out DIR), or its results in a database server "
            "(--storage URL)"
        )


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a path is on; empty where that is not known."""
    place, found, longest = path.absolute().resolve(), "", -1
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = Path(_unescaped(words[1]))
        # Of mounts at one place the last covers the others.
        if place.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = words[2], len(point.parts)
    return found


def _unescaped(text: str) -> str:
    """Space, tab, line feed and backslash are written in octal there."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
