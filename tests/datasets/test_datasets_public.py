from __future__ import annotations

import logging
import re
import socket
import sys
import tarfile
from pathlib import Path

import pytest
from full_disk import at_most
from published_archives import FOLDER, NAME, UNPACKS, dead_address, pack, publish, serving
from toy_dataset import write_dataset

from volseg.datasets import download, read_dataset
from volseg.datasets.catalogue import CATALOGUE, HOST
from volseg.datasets.public import get_dataset
from volseg.errors import InputError, OutputError, UsageError

pytestmark = UNPACKS


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("toy") / FOLDER, cases=2)


@pytest.fixture(scope="module")
def archive(toy: Path) -> bytes:
    return pack(toy)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


def test_the_catalogue_is_well_formed() -> None:
    assert len(CATALOGUE) == 10
    assert [name[:10] for name in CATALOGUE] == [f"msd:Task{n:02d}" for n in range(1, 11)]
    assert all(name == f"msd:{dataset.folder}" for name, dataset in CATALOGUE.items())
    assert all(re.fullmatch("[0-9a-f]{32}", dataset.md5) for dataset in CATALOGUE.values())
    assert len({dataset.md5 for dataset in CATALOGUE.values()}) == 10
    assert all(re.match(r"(CT|MR)\b.*: \w", dataset.content) for dataset in CATALOGUE.values())
    assert re.fullmatch(r"https://[\w.-]+", HOST)


def test_download(toy: Path, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    asked: list[tuple[str, str]] = []
    seen: list[tuple[str, int, int]] = []
    with serving(archive, asked=asked) as url:
        folder = get_dataset(
            NAME, tmp_path / "new" / "here", url=f"{url}/", progress=lambda *report: seen.append(report)
        )
    assert folder == tmp_path / "new" / "here"
    assert files(folder) == files(toy)  # and nothing of macOS
    assert len(read_dataset(folder).cases) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["here"]
    assert [path for path, _ in asked] == [f"/mirror/{FOLDER}.tar"]
    assert asked[0][1].startswith("volseg/")
    assert ("downloading", len(archive), len(archive)) in seen
    assert {what for what, _, _ in seen} == {"downloading", "unpacking"}
    assert all(0 < done <= total for _, done, total in seen)


def test_without_a_mirror_the_host_is_asked(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    monkeypatch.chdir(tmp_path)
    with serving(archive) as url:
        monkeypatch.setattr("volseg.datasets.public.HOST", url)
        assert get_dataset(NAME) == Path(FOLDER)
    assert Path(FOLDER, "dataset.json").is_file()


def test_local_archive(toy: Path, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    monkeypatch.setattr("volseg.datasets.download.urlopen", None)
    (tmp_path / "mine.tar").write_bytes(archive)
    seen: list[tuple[str, int, int]] = []
    folder = get_dataset(
        NAME, tmp_path / "set", archive=tmp_path / "mine.tar", progress=lambda *report: seen.append(report)
    )
    assert files(folder) == files(toy)
    assert (tmp_path / "mine.tar").read_bytes() == archive
    assert seen[0] == ("checking", len(archive), len(archive))


@pytest.mark.parametrize("local", [True, False])
def test_another_digest_is_refused(
    local: bool, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = publish(monkeypatch, archive)
    found = publish(monkeypatch, archive + b"more")
    publish(monkeypatch, archive)
    match = f"MD5 digest is {found}; expected {expected}: damaged, or not {NAME}; download it again"
    mine = tmp_path / "mine.tar"
    mine.write_bytes(archive + b"more")
    with serving(archive + b"more") as url, pytest.raises(InputError, match=match):
        get_dataset(NAME, tmp_path / "set", **({"archive": mine} if local else {"url": url}))
    assert list(tmp_path.iterdir()) == [mine]


def test_an_archive_that_is_not_there(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    with pytest.raises(InputError, match=r"no\.tar: no such file or folder"):
        get_dataset(NAME, tmp_path / "set", archive=tmp_path / "no.tar")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        get_dataset(NAME, tmp_path / "set", archive=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_not_found(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    match = rf"/elsewhere/{FOLDER}\.tar: cannot be downloaded \(the server answers 404 Not Found\); .*--url.*--archive"
    with serving(archive) as url, pytest.raises(InputError, match=match):
        get_dataset(NAME, tmp_path / "set", url=f"{url}/elsewhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", [None, "http://[", "http://a b", "http://127.0.0.1:port"])
def test_an_address_that_does_not_answer(
    url: str | None, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, archive)
    with pytest.raises(InputError, match="cannot be downloaded"):
        get_dataset(NAME, tmp_path / "set", url=url or dead_address())
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_stays_silent(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no answer within 0\.1 s"):
            get_dataset(NAME, tmp_path / "set", url=url)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    match = f"broke off after 5000 of {len(archive)} bytes"
    with serving(archive[:5000], length=len(archive)) as url, pytest.raises(InputError, match=match):
        get_dataset(NAME, tmp_path / "set", url=url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("/absolute.txt"),
        tarfile.TarInfo("C:/absolute.txt"),
        tarfile.TarInfo("../outside.txt"),
        tarfile.TarInfo(f"{FOLDER}/../../outside.txt"),
        tarfile.TarInfo(f"{FOLDER}\\..\\..\\outside.txt"),
        link(f"{FOLDER}/link", "../../outside.txt"),
        link(f"{FOLDER}/link", "/etc/passwd"),
        link(f"{FOLDER}/link", "../../outside.txt", tarfile.LNKTYPE),
        device(f"{FOLDER}/device"),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_a_member_that_leads_outside(
    member: tarfile.TarInfo, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(toy, (member, b"evil" if member.isfile() else b""))
    publish(monkeypatch, archive)
    home = tmp_path / "a" / "b"
    match = rf"cannot be unpacked \({re.escape(repr(member.name))} is a link or a device, or leads outside"
    with serving(archive) as url, pytest.raises(InputError, match=match):
        get_dataset(NAME, home / "set", url=url)
    assert [path for path in tmp_path.rglob("*") if path not in (home, home.parent)] == []


def test_not_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, b"<html>sign in first</html>" * 100)
    with serving(b"<html>sign in first</html>" * 100) as url, pytest.raises(InputError, match="cannot be unpacked"):
        get_dataset(NAME, tmp_path / "set", url=url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoilt", "match"),
    [
        (f"{FOLDER}/dataset.json", "holds no complete dataset Task99_Toy: there is no dataset.json in it"),
        (f"{FOLDER}/labelsTr", f"2 of 4 files are missing, such as {FOLDER}/labelsTr/toy_0.nii.gz;"),
        ("text", f": {FOLDER}/dataset.json: "),
    ],
)
def test_an_archive_of_something_else(
    spoilt: str, match: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{FOLDER}/dataset.json"
    archive = pack(toy, (tarfile.TarInfo(name), b"no JSON")) if spoilt == "text" else without(toy, spoilt, tmp_path)
    publish(monkeypatch, archive)
    before = set(tmp_path.iterdir())
    with serving(archive) as url, pytest.raises(InputError, match=match):
        get_dataset(NAME, tmp_path / "set", url=url)
    assert set(tmp_path.iterdir()) == before


def without(toy: Path, left_out: str, scratch: Path) -> bytes:
    with tarfile.open(scratch / "part.tar", "w") as archive:
        archive.add(toy, arcname=FOLDER, filter=lambda member: None if member.name == left_out else member)
    return (scratch / "part.tar").read_bytes()


def test_a_complete_dataset_is_kept(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(monkeypatch, archive)
    there = write_dataset(tmp_path / "set", cases=1)
    before = files(there)
    with caplog.at_level(logging.INFO, logger="volseg"):
        assert get_dataset(NAME, there, url=dead_address()) == there
    assert "is a complete dataset already and is kept" in caplog.text
    assert files(there) == before


def test_something_else_is_there(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    part = write_dataset(tmp_path / "part", cases=2)
    (part / "imagesTr" / "toy_1.nii.gz").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    before = files(tmp_path)
    for name, match in (
        ("part", r"1 of 4 files are missing, such as .*toy_1\.nii\.gz; remove it or choose another with -o"),
        ("other", "other: exists and is no complete dataset: there is no dataset.json"),
        ("file", "file: exists and is no complete dataset"),
    ):
        with pytest.raises(UsageError, match=match):
            get_dataset(NAME, tmp_path / name, url=dead_address())
    assert files(tmp_path) == before


@pytest.mark.parametrize("when", ["downloading", "unpacking"])
def test_an_interrupt_leaves_nothing(
    when: str, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, archive)
    monkeypatch.setattr(download, "CHUNK", 1000)

    def interrupt(what: str, done: int, total: int) -> None:
        if what == when and done > total / 2:
            raise KeyboardInterrupt(what)

    with serving(archive) as url, pytest.raises(KeyboardInterrupt, match=when):
        get_dataset(NAME, tmp_path / "set", url=url, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, which this system cannot")
@pytest.mark.parametrize("local", [True, False])
def test_a_full_disk(local: bool, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    mine = tmp_path / "mine.tar"
    mine.write_bytes(archive)
    with (
        serving(archive) as url,
        at_most(300),
        pytest.raises(OutputError, match=r"set: cannot be written \(File too large\); check"),
    ):
        get_dataset(NAME, tmp_path / "set", **({"archive": mine} if local else {"url": url}))
    assert list(tmp_path.iterdir()) == [mine]


def test_a_folder_that_cannot_be_made(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, archive)
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        get_dataset(NAME, tmp_path / "taken" / "set", url=dead_address())


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'msd:Task04_Hippocampus'"):
        get_dataset("Task04_Hippocampus", tmp_path / "set")
    with pytest.raises(UsageError, match="`volseg dataset list` shows them all"):
        get_dataset("kits", tmp_path / "set")
    with pytest.raises(UsageError, match="give one of them"):
        get_dataset("msd:Task09_Spleen", tmp_path / "set", archive="a.tar", url="https://host")
    with pytest.raises(UsageError, match="expected an address that starts with https"):
        get_dataset("msd:Task09_Spleen", tmp_path / "set", url="file:///etc")
    assert list(tmp_path.iterdir()) == []
