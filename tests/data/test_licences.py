import pytest

from synthbridge.core.files import write_json
from synthbridge.data.licences import (
    Licence,
    licence_record,
    licence_sentences,
    read_licences,
    read_set_licences,
    write_licences,
)

OPEN = Licence("a/open", "0" * 40, "openrail++", None, None)
CLOSED = Licence("a/turbo", "1" * 40, "other", "sai-nc-community", "https://x/LICENSE.md")


def test_licences_are_kept_and_told(tmp_path):
    write_licences(tmp_path, [OPEN, CLOSED])
    assert read_licences(tmp_path) == [OPEN, CLOSED]
    assert licence_sentences(read_licences(tmp_path)) == [
        "licence of a/open: openrail++",
        "licence of a/turbo: sai-nc-community (https://x/LICENSE.md); it forbids commercial use",
    ]


def test_nothing_known_leaves_nothing(tmp_path):
    write_licences(tmp_path, [])
    assert not list(tmp_path.iterdir())
    assert read_licences(tmp_path) == []
    assert licence_record(tmp_path) == {}


def test_images_keep_their_generators_licences(tmp_path):
    write_licences(tmp_path, [CLOSED])
    write_json(tmp_path / "index.json", {"num_images": 3, **licence_record(tmp_path)})
    assert read_set_licences(tmp_path) == [CLOSED]
    assert read_set_licences(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "forbids"),
    [
        ("cc-by-nc-4.0", True),
        ("sai-nc-community", True),
        ("flux-1-dev-non-commercial-license", True),
        ("stable-diffusion-xl-1.0-research", True),
        ("apache-2.0", False),
        ("openrail++", False),
        ("creativeml-openrail-m", False),
        ("stabilityai-ai-community", False),
        ("mit", False),
    ],
)
def test_licences_that_forbid_commercial_use(name, forbids):
    assert Licence("a/b", "0" * 40, "other", name, None).is_non_commercial == forbids
    assert Licence("a/b", "0" * 40, name, None, None).is_non_commercial == forbids
