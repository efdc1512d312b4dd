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


def test_records_become_rows_in_percent(tmp_path):
    write_run_metrics(tmp_path / "runs/a.json", [RECORD, {**RECORD, "shots": "full", "top1": 1.0}])
    own = {"arm": "bridged", "seed": "s1", "mean_per_class": 50.0, "gradient_steps": 130}
    assert read_json(tmp_path / "runs/a.json") == [
        {**own, "shots": "4", "top1": 87.6543},
        {**own, "shots": "full", "top1": 100.0},
    ]


def test_a_rate_selected_on_test_marks_its_accuracies(tmp_path):
    write_run_metrics(tmp_path / "a.json", [{**RECORD, "selected_on": "test"}])
    (row,) = read_json(tmp_path / "a.json")
    accuracies = {"top1_selected_on_test", "mean_per_class_selected_on_test"}
    assert set(row) == {"arm", "shots", "seed", "gradient_steps"} | accuracies


def test_rows_of_probe_say_which_seed(tmp_path):
    own = {"set": None, "model": "upstream", "seed": None}
    of_set = {"set": "dsi_4", "model": "plain", "measure": "leep"}
    rows = [
        {**own, "measure": "leep", "value": -1.25},
        {**own, "measure": "fixed_feature_accuracy", "value": 0.9},
        {**of_set, "seed": 2, "value": -1.0},
    ]
    write_probe_metrics(tmp_path / "probe.json", rows)
    assert read_json(tmp_path / "probe.json") == [
        {**own, "measure": "leep", "seed": "once", "value": -1.25},
        {**own, "measure": "fixed_feature_accuracy", "seed": "once", "value": 90.0},
        {**of_set, "seed": "s2", "value": -1.0},
    ]
