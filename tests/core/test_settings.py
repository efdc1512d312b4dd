import pytest

from synthbridge.core.settings import Sections, Settings, check_settings, read_yaml


class Inner(Settings):
    rate: float


class Outer(Settings):
    steps: int
    inner: Inner


def test_rates_are_floats_by_dvcs_rules(tmp_path):
    path = tmp_path / "params.yaml"
    for text in ("1e-4", "2e-05", "1.0e-4", "3"):
        path.write_text(f"rate: {text}\n")
        assert check_settings(Inner, read_yaml(path), "").rate == float(text)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": 1, "inner": {"rate": 1.0, "rat": 2}}, "a.inner.rat is not a known key.*rate"),
        ({"steps": 1, "inner": {}}, "a.inner.rate is missing; add it"),
        ({"steps": "1", "inner": {"rate": 1.0}}, "a.steps is '1'; it should be a valid integer"),
        ({"steps": 1.5, "inner": {"rate": 1.0}}, "a.steps is 1.5; it should be a valid integer"),
        ({"steps": True, "inner": {"rate": 1.0}}, "a.steps is True"),
        ({"steps": 1, "inner": {"rate": "fast"}}, "a.inner.rate is 'fast'"),
        ({"steps": 1, "inner": 3}, "a.inner is 3"),
        ({"steps": 1, "inner": {"rate": float("inf")}}, "a.inner.rate is inf; it should be a fin"),
        ({"steps": 1, "inner": {"rate": float("nan")}}, "a.inner.rate is nan; it should be a fin"),
    ],
)
def test_faults_are_sentences(values, sentence):
    with pytest.raises(ValueError, match=rf"params.yaml: {sentence}"):
        check_settings(Outer, values, "a")


def test_section_may_be_dotted_and_must_exist(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  b:\n    rate: 0.5\n")
    sections = Sections(path)
    assert sections.read(Inner, "a.b").rate == 0.5
    assert sections.read(float, "a.b.rate") == 0.5
    with pytest.raises(ValueError, match="no section 'a.c'"):
        sections.read(Inner, "a.c")
    with pytest.raises(ValueError, match=r"a.b.rate is 0.5; it should be a valid list"):
        sections.read(list[int], "a.b.rate")


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [\n", "a: 1\na: 2\n"])
def test_broken_files_are_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="params.yaml"):
        read_yaml(path)
