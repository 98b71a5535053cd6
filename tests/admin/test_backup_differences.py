"""What a restore says before it changes anything: settings, plant model, accounts and tokens that differ."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.access import grants
from millrace_admin.backup.cli import EXIT_UNDECIDED
from millrace_admin.backup.differences import at_most, different_access, different_configuration, different_settings, files_in
from millrace_admin.backup.layout import OLD_ORDER
from millrace_admin.secret_files import SecretFiles

from .conftest import NOW
from .volumes import archive_of, make_volumes, old_archive, tree


def secrets_of(files: SecretFiles) -> dict[str, bytes]:
    """As the volumes hold them."""
    found: dict[str, bytes] = {}
    for name in ("admin", "alerts"):
        found |= files_in(files.root / name, f"volumes/{name}-secrets")
    return found


def test_what_was_revoked_since_works_again_and_is_listed(ready_files: SecretFiles) -> None:
    grants.add_token(ready_files, "mes", ["read"], NOW)
    grants.add_token(ready_files, "guest", ["read"], NOW)
    grants.add_publisher(ready_files, "scale", "SCALE-01", NOW)
    saved = secrets_of(ready_files)
    assert different_access(saved, saved) == []
    for name in ("guest", "scale"):
        grants.revoke(ready_files, name)
    grants.add_token(ready_files, "erp", ["read"], NOW)
    assert different_access(saved, secrets_of(ready_files)) == [
        "broker account works again (was revoked or changed since): scale",
        "API token works again (was revoked or changed since): guest",
        "API token is newer than the backup, and is gone then: erp",
    ]


def test_a_token_that_was_made_anew_under_its_name_works_again_in_its_old_form(ready_files: SecretFiles) -> None:
    grants.add_token(ready_files, "mes", ["read"], NOW)
    saved = secrets_of(ready_files)
    grants.revoke(ready_files, "mes")
    grants.add_token(ready_files, "mes", ["read"], NOW)
    assert different_access(saved, secrets_of(ready_files)) == ["API token works again (was revoked or changed since): mes"]


def test_on_a_new_server_everything_that_works_again_is_listed(ready_files: SecretFiles) -> None:
    grants.add_publisher(ready_files, "scale", "SCALE-01", NOW)
    [line] = different_access(secrets_of(ready_files), {})
    assert line == "broker account works again (nothing is here to compare with): scale"


def test_settings_that_differ_are_named_with_both_values() -> None:
    saved = {"settings/env": b'# plant\nMILLRACE_CONFIG="./plant"\nMILLRACE_SIMULATOR=0\nMILLRACE_API_PORT=8080\n'}
    here = {"settings/env": b"MILLRACE_CONFIG=./plant\nMILLRACE_SIMULATOR=1\n"}
    assert different_settings(saved, here) == [
        "MILLRACE_API_PORT: not set here, '8080' in the backup",
        "MILLRACE_SIMULATOR: '1' here, '0' in the backup",
    ]
    assert different_settings(saved, {}) == different_settings({}, here) == []


@pytest.mark.parametrize("place", ["config", "volumes/admin-secrets/accepted-config"])
def test_a_plant_model_that_differs_is_named_file_by_file(place: str) -> None:
    saved = {f"{place}/plant.yaml": b"a", f"{place}/profiles/cnc.yaml": b"b", f"{place}/profiles/mill.yaml": b"c"}
    here = {"config/plant.yaml": b"x", "config/profiles/cnc.yaml": b"b", "config/alerts.yaml": b"d", "config/notes.txt": b"e"}
    assert different_configuration(saved, here) == [
        "alerts.yaml: only here",
        "plant.yaml: differs",
        "profiles/mill.yaml: only in the backup",
    ]
    assert different_configuration(saved, {}) == different_configuration({}, here) == []


def test_a_long_list_is_cut_for_a_person() -> None:
    assert at_most(map(str, range(20)))[-2:] == ["11", "and 8 more"]
    assert at_most(["one"]) == ["one"]


class TestCommand:
    """`millrace backup check`, `stage`, `swap` and `finish`, as the scripts call them."""

    def run(self, monkeypatch: pytest.MonkeyPatch, archive: bytes, verb: str, *arguments: str) -> int:
        class Input:
            buffer = io.BytesIO(archive)

            @staticmethod
            def isatty() -> bool:
                return False

        monkeypatch.setattr(sys, "stdin", Input)
        return main(["backup", verb, *arguments])

    @pytest.fixture
    def here(self, tmp_path: Path) -> Path:
        (tmp_path / "here" / "config").mkdir(parents=True)
        (tmp_path / "here" / "settings").mkdir()
        (tmp_path / "here" / "config" / "plant.yaml").write_text("root: plant\n")
        (tmp_path / "here" / "settings" / "env").write_text("MILLRACE_CONFIG=./plant\n")
        return tmp_path / "here"

    def test_check_says_what_the_backup_is_and_changes_nothing(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        volumes = make_volumes(tmp_path / "volumes", "there")
        before = tree(tmp_path)
        archive = archive_of(volumes, here=here)
        assert self.run(monkeypatch, archive, "check", "--volumes", str(volumes), "--here", str(here)) == 0
        assert "The backup is whole: of 2026-03-01T12:00:00.000Z, Millrace 0.1.0, 0 MB in 18 volumes." in capsys.readouterr().out
        assert tree(tmp_path) == before

    def test_check_asks_for_a_decision_where_the_plant_model_differs(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        volumes = make_volumes(tmp_path / "volumes", "there")
        archive = archive_of(volumes, here=here)
        (here / "config" / "plant.yaml").write_text("root: sample\n")
        arguments = ("check", "--volumes", str(volumes), "--here", str(here))
        assert self.run(monkeypatch, archive, *arguments) == EXIT_UNDECIDED
        assert "plant.yaml: differs" in capsys.readouterr().out

    def test_an_old_archive_is_compared_with_the_model_that_its_platform_ran_on(
        self, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        volumes = make_volumes(tmp_path / "volumes", "there")
        (volumes / "admin-secrets" / "accepted-config").mkdir()
        (volumes / "admin-secrets" / "accepted-config" / "plant.yaml").write_text("root: real\n")
        arguments = ("check", "--volumes", str(volumes), "--here", str(here))
        assert self.run(monkeypatch, old_archive(volumes), *arguments) == EXIT_UNDECIDED
        assert "plant.yaml: differs" in capsys.readouterr().out

    def test_a_spoilt_archive_is_refused_in_one_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        volumes = make_volumes(tmp_path / "volumes", "there")
        archive = archive_of(volumes)
        for verb in ("check", "stage"):
            assert self.run(monkeypatch, archive[:-50], verb, "--volumes", str(volumes)) == 2
            said = capsys.readouterr().err
            assert said == "the backup is refused: its end is missing: it was not written or copied to the end\n"

    def test_stage_swap_and_finish_bring_it_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive = archive_of(make_volumes(tmp_path / "first", "first"))
        volumes = make_volumes(tmp_path / "volumes", "there")
        for verb in ("stage", "swap", "finish"):
            assert self.run(monkeypatch, archive, verb, "--volumes", str(volumes)) == 0
        assert (volumes / "oee-data" / "a").read_text() == "first oee-data"
        assert capsys.readouterr().out == "no restore was cut off\n"

    def test_settings_and_plant_model_stand_first_in_an_archive(self, tmp_path: Path, here: Path) -> None:
        plain = gzip.decompress(archive_of(make_volumes(tmp_path / "volumes", "there", OLD_ORDER[:1]), here=here))
        places = [plain.index(name) for name in (b"settings/env", b"config/plant.yaml", b"volumes/influxdb-data")]
        assert places == sorted(places)


def test_accounts_of_services_are_nobody_to_tell_of(ready_files: SecretFiles) -> None:
    saved = secrets_of(ready_files)
    assert json.loads(saved["volumes/admin-secrets/accounts.json"])
    assert different_access(saved, {}) == []
