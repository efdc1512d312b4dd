import tarfile

import pytest

from own_data import write_tar
from synthbridge.data.tars import TarSample, read_range, read_tar


def test_files_are_grouped_by_key_in_the_order_of_the_tar(tmp_path):
    members = [("v1.5/b.png", b"one"), ("v1.5/b.cls", b"0"), ("a.seg.png", b"x"), ("a.JPG", b"two")]
    path = write_tar(tmp_path / "a.tar", [("v1.5", None), *members, ("a.json", b"{}")])
    samples = read_tar(path, ("cls",), "copy it again")
    assert list(samples) == ["v1.5/b", "a"]
    assert samples["v1.5/b"].texts == {"cls": b"0"}
    assert samples["a"].texts == {}  # json was not asked for, and .seg.png is another extension
    images = [read_range(path, *place) for sample in samples.values() for place in sample.images]
    assert images == [b"one", b"two"]


def test_tars_that_were_joined_are_read_to_the_last(tmp_path):
    parts = [write_tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", n.encode())]) for n in "abc"]
    joined = tmp_path / "joined.tar"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    samples = read_tar(joined, (), "copy it again")
    assert [read_range(joined, *sample.images[0]) for sample in samples.values()] == [
        b"a",
        b"b",
        b"c",
    ]
    joined.write_bytes(joined.read_bytes() + b"x" * 2048 + bytes(1024))
    with pytest.raises(ValueError, match="joined.tar is not a whole tar"):
        read_tar(joined, (), "copy it again")


def test_hidden_files_folders_and_links_are_passed_over(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("._k.jpg", b"x"), ("d/.jpg", b"x"), ("k.jpg", None)])
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("outside.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    assert read_tar(path, (), "copy it again") == {}


def test_every_image_of_a_key_is_listed(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("k.jpg", b"x"), ("k.png", b"yy")])
    (sample,) = read_tar(path, (), "copy it again").values()
    assert isinstance(sample, TarSample) and [size for _, size in sample.images] == [1, 2]


@pytest.mark.parametrize(
    "cut", ["nothing", "in a header", "in a file", "between files", "no tar", "damaged header"]
)
def test_a_tar_that_is_not_whole_is_refused(tmp_path, cut):
    path = write_tar(tmp_path / "a.tar", [("a.jpg", bytes([1]) * 600), ("b.jpg", b"x")])
    second = list(read_tar(path, (), "").values())[1].images[0][0] - 512  # its header's offset
    content = path.read_bytes()
    path.write_bytes(
        {
            "nothing": b"",
            "in a header": content[:300],
            "in a file": content[:1000],
            "between files": content[:second],
            "no tar": b"no tar",
            "damaged header": content[:second] + b"x" * 512 + content[second + 512 :],
        }[cut]
    )
    with pytest.raises(ValueError, match=r"a\.tar is not a whole tar \(.*\); copy it again$"):
        read_tar(path, (), "copy it again")
