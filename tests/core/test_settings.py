import pytest

from synthbridge.core.settings import Settings, check_settings, read_section, read_yaml


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
    ],
)
def test_faults_are_sentences(values, sentence):
    with pytest.raises(ValueError, match=rf"params.yaml: {sentence}"):
        check_settings(Outer, values, "a")


def test_section_may_be_dotted_and_must_exist(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  b:\n    rate: 0.5\n")
    assert read_section(Inner, "a.b", path).rate == 0.5
    with pytest.raises(ValueError, match="no section 'a.c'"):
        read_section(Inner, "a.c", path)


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [\n", "a: 1\na: 2\n"])
def test_broken_files_are_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="params.yaml"):
        read_yaml(path)
