"""An archive is whole, or it is refused in words: cut, flipped, in another order, foreign, of a newer version."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from millrace_admin.backup.archive import HEAD, MANIFEST, ArchiveRefused, check_version
from millrace_admin.backup.layout import OLD_ORDER, in_order

from .volumes import archive_of, changed, contents, make_volumes, old_archive, read, tree

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_volumes(tmp_path_factory.mktemp("volumes"), "first")


@pytest.fixture(scope="module")
def archive(volumes: Path) -> bytes:
    return archive_of(volumes)


@pytest.fixture(scope="module")
def old(volumes: Path) -> bytes:
    return old_archive(volumes)


def test_an_archive_holds_every_file_and_says_what_it_holds(volumes: Path, archive: bytes) -> None:
    assert contents(archive) == {f"volumes/{path}": content for path, content in tree(volumes).items()}
    manifest = read(archive)
    assert manifest.volumes == in_order(OLD_ORDER)
    assert manifest.size_bytes == sum(len(content) for content in tree(volumes).values())
    assert manifest.notes == []


def test_what_ingest_says_is_taken_before_the_database_and_outboxes_after_it() -> None:
    order = in_order([*OLD_ORDER, "new-data"])
    assert order[:3] == ["ingest-data", "influxdb-data", "alerts-data"]
    assert "new-data" in order[3:]
    assert all(name.endswith("-secrets") for name in order[-9:])


@pytest.mark.parametrize("kind", ["archive", "old"])
def test_one_that_is_cut_anywhere_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    whole: bytes = request.getfixturevalue(kind)
    for end in [*range(0, len(whole) - 1, max(len(whole) // 150, 1)), len(whole) - 1]:
        with pytest.raises(ArchiveRefused):
            read(whole[:end])


@pytest.mark.parametrize("kind", ["archive", "old"])
def test_one_with_a_flipped_byte_is_refused_or_the_byte_says_nothing(
    kind: str, request: pytest.FixtureRequest, volumes: Path
) -> None:
    whole: bytes = request.getfixturevalue(kind)
    chosen = random.Random(1)
    refused = 0
    for _ in range(60):
        place = chosen.randrange(len(whole))
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << chosen.randrange(8)
        try:
            read(bytes(spoilt))
        except ArchiveRefused:
            refused += 1
        else:  # The time or the system in the head of a gzip file.
            assert contents(bytes(spoilt)) == {f"volumes/{path}": content for path, content in tree(volumes).items()}
    assert refused > 40


def test_a_flipped_byte_below_a_right_compression_is_named(archive: bytes) -> None:
    plain = bytearray(gzip.decompress(archive))
    plain[plain.index(b"first gateway-data")] ^= 1
    with pytest.raises(ArchiveRefused, match="volumes/gateway-data/a is damaged"):
        read(gzip.compress(bytes(plain)))


def test_one_whose_last_parts_are_missing_is_refused(archive: bytes, volumes: Path) -> None:
    with pytest.raises(ArchiveRefused, match="its end is missing"):
        read(changed(archive, lambda members: members[:-6]))
    with pytest.raises(ArchiveRefused, match="parts are missing: volumes/simulator-secrets/"):
        read(changed(archive, lambda members: [*members[:-5], members[-1]]))
    missing = ", ".join(OLD_ORDER[-6:])
    with pytest.raises(ArchiveRefused, match=f"it lacks {missing}"):
        read(old_archive(volumes, OLD_ORDER[:-6]))


def test_one_in_another_order_is_refused(archive: bytes, volumes: Path) -> None:
    def swapped(members: Members) -> Members:
        members[3], members[8] = members[8], members[3]
        return members

    with pytest.raises(ArchiveRefused, match="parts are missing or in another order"):
        read(changed(archive, swapped))
    with pytest.raises(ArchiveRefused, match="its parts are in another order"):
        read(old_archive(volumes, OLD_ORDER[::-1]))


def test_the_end_of_another_backup_is_refused(archive: bytes) -> None:
    def foreign_end(members: Members) -> Members:
        info, content = members[-1]
        return [*members[:-1], (info, content.replace(b"0123456789abcdef", b"fedcba9876543210"))]

    with pytest.raises(ArchiveRefused, match="of two backups"):
        read(changed(archive, foreign_end))


def test_one_of_a_newer_version_is_refused_with_the_way_out(archive: bytes) -> None:
    def newer(members: Members) -> Members:
        info, content = members[0]
        return [(info, json.dumps({**json.loads(content), "format": 3, "version": "9.0.0"}).encode()), *members[1:]]

    with pytest.raises(ArchiveRefused, match=r"newer version 9\.0\.0 of Millrace: restore it with that version"):
        read(changed(archive, newer))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "volumes/../../outside", "elsewhere/a", "volumes//a", "volumes/x/./a"]
)
def test_a_path_that_leads_out_of_it_is_refused(archive: bytes, name: str) -> None:
    def spoilt(members: Members) -> Members:
        members[5][0].name = name
        return members

    with pytest.raises(ArchiveRefused, match=r"does not belong|missing or in another order"):
        read(changed(archive, spoilt))


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b""), gzip.compress(b"no tar" * 1000)],
    ids=["nothing", "a text", "an empty gzip", "a gzip of no tar"],
)
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveRefused):
        read(content)


@pytest.mark.parametrize(("ours", "is_refused"), [("0.1.0", False), ("0.10.0", False), ("0.0.9", True)])
def test_one_of_a_newer_program_is_refused_although_it_can_be_read(archive: bytes, ours: str, is_refused: bool) -> None:
    head = read(archive).head
    check_version(None, ours)
    if not is_refused:
        check_version(head, ours)
        return
    with pytest.raises(ArchiveRefused, match=r"version 0\.1\.0 of Millrace, and this is 0\.0\.9: restore it with that version"):
        check_version(head, ours)


def test_somebody_elses_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x" * 5000)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(tmp_path / "holiday.jpg", "holiday.jpg")
    with pytest.raises(ArchiveRefused, match=r"no backup of Millrace: it begins with 'holiday\.jpg'"):
        read(gzip.compress(out.getvalue()))


def test_an_archive_of_before_manifests_is_read_and_says_so(volumes: Path, old: bytes) -> None:
    assert contents(old) == {f"volumes/{path}": content for path, content in tree(volumes).items()}
    manifest = read(old)
    assert manifest.head.format == 1
    assert "without checksums" in manifest.notes[0]


def test_the_first_and_the_last_member_are_known_by_their_names(archive: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        names = tar.getnames()
    assert (names[0], names[-1]) == (HEAD, MANIFEST)
