import pytest

from synthbridge.data.licences import Licence, licence_lines, read_licences, write_licences

OPEN = Licence("a/open", "0" * 40, "openrail++", None, None)
CLOSED = Licence("a/turbo", "1" * 40, "other", "sai-nc-community", "https://x/LICENSE.md")


def test_licences_are_kept_and_told(tmp_path):
    write_licences(tmp_path, [OPEN, CLOSED])
    assert read_licences(tmp_path) == [OPEN, CLOSED]
    assert licence_lines(tmp_path) == [
        "licence of a/open: openrail++",
        "licence of a/turbo: sai-nc-community (https://x/LICENSE.md); it forbids commercial use",
    ]


def test_nothing_known_leaves_nothing(tmp_path):
    write_licences(tmp_path, [])
    assert not list(tmp_path.iterdir())
    assert read_licences(tmp_path) == [] == licence_lines(tmp_path)


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
