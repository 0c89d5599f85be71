"""The home directory: private, locked by one server, on a local disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hrm.config.home import Home
from hrm.config.mounts import mount_of, read_mounts
from hrm.model.errors import ClusterError, Conflict, Forbidden, InvalidInput


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestLocation:
    def test_the_place_that_is_named_comes_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HRM_HOME", str(tmp_path / "environment"))

        assert Home.locate(tmp_path / "named").path == tmp_path / "named"
        assert Home.locate().path == tmp_path / "environment"

    @pytest.mark.parametrize("unset", [True, False])
    def test_without_either_it_is_below_the_users_home(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: bool
    ) -> None:
        monkeypatch.delenv("HRM_HOME") if unset and "HRM_HOME" in os.environ else monkeypatch.setenv("HRM_HOME", "")
        monkeypatch.setenv("HOME", str(tmp_path))

        assert Home.locate().path == tmp_path / ".hrm"

    def test_a_relative_place_does_not_move_with_the_working_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)

        assert Home.locate(Path("here")).path == tmp_path / "here"

    def test_locating_makes_nothing(self, tmp_path: Path) -> None:
        Home.locate(tmp_path / "home")

        assert not (tmp_path / "home").exists()


class TestCreation:
    def test_only_the_owner_may_enter(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "deep" / "home")
        home.create()
        home.create()

        assert mode(home.path) == 0o700

    def test_one_that_others_can_read_is_closed_to_them(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir(mode=0o755)

        Home(tmp_path / "home").create()

        assert mode(tmp_path / "home") == 0o700

    @pytest.mark.parametrize("writable", [0o770, 0o707, 0o1777])
    def test_one_that_others_can_write_to_is_refused_with_the_command_that_cures_it(
        self, tmp_path: Path, writable: int
    ) -> None:
        path = tmp_path / "home"
        path.mkdir()
        path.chmod(writable)

        with pytest.raises(Forbidden, match="others can write") as refused:
            Home(path).create()

        assert f"chmod 700 {path}" in refused.value.next_step
        assert mode(path) == writable

    def test_one_of_another_user_is_refused(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: home.path.stat().st_uid + 1)

        with pytest.raises(Forbidden, match="belongs to user"):
            home.create()

    @pytest.mark.root
    def test_one_of_root_that_others_may_pass_through_stays_so(self, home: Home) -> None:
        home.admit_others()
        home.create()

        assert mode(home.path) == 0o711

    def test_others_pass_through_to_what_is_for_them_and_to_nothing_else(self, home: Home, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        for path in (elsewhere, home.socket_file, home.config_file, home.path / "made-by-whomever"):
            path.touch()
            path.chmod(0o666)
        for path in (home.node_dir, home.models_dir, home.path / "more"):
            path.mkdir()
            path.chmod(0o755)
        (home.path / "link").symlink_to(elsewhere)
        script = home.path / "script"
        script.touch()
        script.chmod(0o755)

        home.admit_others()

        modes = {path.name: mode(path) for path in home.path.iterdir() if not path.is_symlink()}
        assert modes == {
            "hrm.sock": 0o666,
            "node": 0o755,
            "models": 0o755,
            "hrm.yaml": 0o600,
            "made-by-whomever": 0o600,
            "more": 0o700,
            "script": 0o700,
        }
        assert (mode(home.path), mode(elsewhere)) == (0o711, 0o666)

    def test_a_file_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")

        with pytest.raises(InvalidInput, match="no directory"):
            Home(tmp_path / "home").create()

    def test_a_place_where_nothing_can_be_made_is_told(self) -> None:
        with pytest.raises(ClusterError, match="cannot make /proc/nowhere"):
            Home(Path("/proc/nowhere/home")).create()


class TestFiles:
    def test_a_private_file_is_readable_by_its_owner_alone_whatever_the_umask(self, home: Home) -> None:
        before = os.umask(0)
        try:
            home.write_private(home.server_file, b"{}")
        finally:
            os.umask(before)

        assert mode(home.server_file) == 0o600
        assert home.server_file.read_bytes() == b"{}"

    def test_a_reader_sees_the_old_content_or_the_new_whole(self, home: Home) -> None:
        contents = {letter.encode() * 50_000 for letter in "ab"}
        home.write_private(home.server_file, min(contents))
        seen: set[bytes] = set()
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.add(home.server_file.read_bytes())

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(20):
            for content in contents:
                home.write_private(home.server_file, content)
        done.set()
        reader.join()

        assert seen and seen <= contents
        assert [path.name for path in home.path.iterdir()] == ["server.json"]

    def test_a_write_that_fails_leaves_the_old_content_and_no_rest(self, home: Home) -> None:
        home.write_private(home.path / "old", b"old")
        (home.path / "taken").mkdir()

        with pytest.raises(ClusterError, match="cannot write"):
            home.write_private(home.path / "taken", b"new")

        assert sorted(path.name for path in home.path.iterdir()) == ["old", "taken"]

    def test_a_link_planted_in_place_of_a_file_is_replaced_not_followed(self, home: Home, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        home.token_file.symlink_to(victim)

        home.write_private(home.token_file, b"token")

        assert victim.read_text() == "precious"
        assert home.token_file.read_text() == "token"


class TestSecrets:
    def test_the_secret_is_made_once_and_is_private(self, home: Home) -> None:
        secret = home.ensure_secret()

        assert home.ensure_secret() == secret
        assert len(secret) == 32
        assert mode(home.secret_file) == 0o600

    def test_two_homes_have_two_secrets(self, tmp_path: Path) -> None:
        homes = [Home(tmp_path / name) for name in ("one", "two")]
        for home in homes:
            home.create()

        assert homes[0].ensure_secret() != homes[1].ensure_secret()

    def test_the_token_stays_the_same_until_it_is_lost(self, home: Home) -> None:
        home.ensure_secret()
        assert home.ensure_token("first") == "first"
        assert home.ensure_token("second") == "first"

        home.token_file.unlink()

        assert home.ensure_token("third") == "third"
        assert home.token_file.read_text() == "third\n"
        assert mode(home.token_file) == 0o600

    def test_a_token_that_is_no_good_any_more_is_replaced(self, home: Home) -> None:
        home.ensure_token("good")

        assert home.ensure_token("new", still_good=lambda kept: kept == "good") == "good"
        assert home.ensure_token("new", still_good=lambda kept: False) == "new"
        assert home.token_file.read_text() == "new\n"

    def test_a_new_secret_ends_the_old_token(self, home: Home) -> None:
        home.ensure_secret()
        home.ensure_token("signed with the old secret")
        home.secret_file.unlink()

        home.ensure_secret()

        assert home.ensure_token("signed with the new one") == "signed with the new one"

    @pytest.mark.parametrize("name", ["secret", "token"])
    def test_one_that_others_could_read_is_refused(self, home: Home, name: str) -> None:
        home.ensure_secret()
        home.ensure_token("token")
        (home.path / name).chmod(0o644)

        with pytest.raises(Forbidden, match="no secret any more") as refused:
            home.ensure_secret()
            home.ensure_token("token")

        assert f"rm {home.path / name}" in refused.value.next_step

    def test_a_planted_link_is_not_followed(self, home: Home) -> None:
        home.secret_file.symlink_to("/dev/zero")

        with pytest.raises(Forbidden, match="cannot read"):
            home.ensure_secret()


class TestLock:
    def test_a_second_server_is_told_who_holds_the_home(self, home: Home) -> None:
        with home.lock() as lock:
            lock.note(address="http://127.0.0.1:8765")

            with pytest.raises(Conflict) as refused:
                home.lock()

        assert f"pid {os.getpid()}" in refused.value.message
        assert "http://127.0.0.1:8765" in refused.value.message
        assert str(home.path) in refused.value.message

    def test_one_that_is_starting_has_no_address_yet(self, home: Home) -> None:
        with home.lock(), pytest.raises(Conflict, match="starting up"):
            home.lock()

    def test_a_shorter_note_leaves_nothing_of_a_longer_one(self, home: Home) -> None:
        with home.lock() as lock:
            lock.note(address="http://a-very-long-name.example.org:8765")
            lock.note(address="http://b:1")

            with pytest.raises(Conflict, match="at http://b:1\n"):
                home.lock()

    def test_a_released_lock_can_be_taken_again(self, home: Home) -> None:
        home.lock().release()
        home.lock().release()

    def test_two_homes_are_locked_side_by_side(self, tmp_path: Path) -> None:
        homes = [Home(tmp_path / name) for name in ("one", "two")]
        for home in homes:
            home.create()

        with homes[0].lock(), homes[1].lock():
            pass

    def test_the_lock_ends_with_the_process_that_held_it_however_it_ends(self, home: Home) -> None:
        program = (
            "import pathlib, sys, time; from hrm.config.home import Home; "
            f"lock = Home(pathlib.Path({str(home.path)!r})).lock(); print('held', flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            with pytest.raises(Conflict, match=f"pid {holder.pid}"):
                home.lock()
            holder.kill()

        home.lock().release()

    def test_the_lock_is_not_inherited_by_programs_that_the_holder_starts(self, home: Home) -> None:
        lock = home.lock()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
            lock.release()
            home.lock().release()
            child.communicate(b"\n")


LOCAL = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n"


def mounted(point: str, kind: str) -> str:
    return f"{LOCAL}40 21 0:40 / {point} rw,relatime shared:9 - {kind} server:/export rw,vers=4\n"


class TestFilesystem:
    @pytest.mark.parametrize(
        "kind",
        ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "beegfs", "glusterfs", "fuse.sshfs", "fuse.glusterfs"],
    )
    def test_a_network_filesystem_is_refused_and_a_local_place_named(self, kind: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            Home(Path("/users/ann/.hrm")).check_filesystem(mounted("/users", kind))

        assert kind in refused.value.message and "at /users" in refused.value.message
        assert refused.value.next_step.startswith("export HRM_HOME=/")

    @pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.mergerfs", "fuseblk"])
    def test_a_local_filesystem_is_taken(self, kind: str) -> None:
        Home(Path("/users/ann/.hrm")).check_filesystem(mounted("/users", kind))

    def test_a_network_mount_beside_the_home_is_no_reason(self) -> None:
        Home(Path("/users-local/ann")).check_filesystem(mounted("/users", "nfs4"))

    def test_the_place_named_is_not_itself_on_the_network(self) -> None:
        mountinfo = mounted("/users", "nfs4") + "".join(
            f"5{at} 21 0:5{at} / {point} rw - nfs4 server:/x rw\n" for at, point in enumerate(("/var/lib", "/var/tmp"))
        )

        with pytest.raises(InvalidInput) as refused:
            Home(Path("/users/ann/.hrm")).check_filesystem(mountinfo)

        assert refused.value.next_step == f"export HRM_HOME=/tmp/hrm-{os.geteuid()}"

    def test_a_link_onto_the_network_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/srv/share")

        with pytest.raises(InvalidInput, match="nfs4 at /srv"):
            Home(tmp_path / "link" / "hrm").check_filesystem(mounted("/srv", "nfs4"))

    def test_the_innermost_mount_counts_and_of_two_at_one_point_the_later(self) -> None:
        mounts = read_mounts(
            mounted("/users", "nfs4")
            + "41 40 8:2 / /users/ann rw - xfs /dev/sdb rw\n42 40 0:9 / /users/bob rw - ext4 /dev/sdc rw\n"
            + "43 42 0:9 / /users/bob rw - nfs server:/bob rw\n"
        )

        kinds = {
            path: getattr(mount_of(Path(path), mounts), "kind", None)
            for path in ("/users", "/users/ann/x", "/users/bob/x", "/etc")
        }

        assert kinds == {"/users": "nfs4", "/users/ann/x": "xfs", "/users/bob/x": "nfs", "/etc": "ext4"}

    def test_blanks_in_mount_points_are_understood(self) -> None:
        (mount,) = read_mounts(r"40 21 0:40 / /mnt/my\040share rw - nfs4 server:/e rw")

        assert mount.point == "/mnt/my share"

    def test_lines_that_make_no_sense_are_passed_over(self) -> None:
        assert read_mounts("\n- \n1 2\ngarbage - \n") == []

    def test_this_machines_own_table_is_read(self, tmp_path: Path) -> None:
        mount = mount_of(tmp_path, read_mounts())

        assert mount is not None and tmp_path.is_relative_to(mount.point)
