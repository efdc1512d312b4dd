from synthbridge.core.files import read_json
from synthbridge.data.run_metrics import write_probe_metrics, write_run_metrics

RECORD = {
    "arm": "bridged",
    "shots": 4,
    "seed": 1,
    "top1": 0.87654321,
    "mean_per_class": 0.5,
    "gradient_steps": 130,
    "curve": {},
}


def test_records_become_percent_by_arm_shots_and_seed(tmp_path):
    write_run_metrics(tmp_path / "runs/a.json", [RECORD, {**RECORD, "shots": "full", "top1": 1.0}])
    assert read_json(tmp_path / "runs/a.json") == {
        "bridged": {
            "4": {"s1": {"top1": 87.6543, "mean_per_class": 50.0, "gradient_steps": 130}},
            "full": {"s1": {"top1": 100.0, "mean_per_class": 50.0, "gradient_steps": 130}},
        }
    }


def test_a_rate_selected_on_test_marks_its_accuracies(tmp_path):
    write_run_metrics(tmp_path / "a.json", [{**RECORD, "selected_on": "test"}])
    names = read_json(tmp_path / "a.json")["bridged"]["4"]["s1"]
    assert set(names) == {
        "top1_selected_on_test",
        "mean_per_class_selected_on_test",
        "gradient_steps",
    }


def test_probes_stand_by_set_model_and_measure(tmp_path):
    own = {"set": None, "model": "upstream", "seed": None}
    rows = [
        {**own, "measure": "leep", "value": -1.25},
        {**own, "measure": "fixed_feature_accuracy", "value": 0.9},
        {"set": "dsi_4", "model": "plain", "seed": 2, "measure": "leep", "value": -1.0},
    ]
    write_probe_metrics(tmp_path / "probe.json", rows)
    assert read_json(tmp_path / "probe.json") == {
        "backbone": {"upstream": {"leep": {"once": -1.25}, "fixed_feature_accuracy": {"once": 90}}},
        "dsi_4": {"plain": {"leep": {"s2": -1.0}}},
    }
