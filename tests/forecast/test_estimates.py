"""What a params.yaml amounts to, against counts made by hand and by the stages themselves."""

from dataclasses import replace

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.core.settings import check_settings
from synthbridge.forecast import amounts as costs
from synthbridge.forecast.dataset_work import StageWork
from synthbridge.forecast.estimates import Work, count_work, predict
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import Speeds, read_speeds
from synthbridge.forecast.training_counts import TrainingCounts
from synthbridge.params import Params, read_params
from synthbridge.training.arms import real_leg_steps
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings

SIZES = {"digits": DatasetSize(10, 748, 150, 899)}


def _params(**changes):
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    for key, value in changes.items():
        *groups, name = key.split("__")
        group = values
        for part in groups:
            group = group[part]
        group[name] = value
    return check_settings(Params, values, "")


@pytest.fixture(scope="module")
def work():
    return count_work(_params(), SIZES)


def test_stages_bear_dvcs_names(work):
    """Whoever adds a stage to dvc.yaml counts it here; blocks above the volume hold nothing."""
    ours = {stage.name for stage in work.stages}
    of_dvc = {stage.addressing for stage in Repo(str(ROOT)).index.stages} - {"check"}  # no work
    assert ours <= of_dvc
    assert all(name.startswith("generate@") for name in of_dvc - ours)
    assert {name[-2:] for name in of_dvc - ours} == {"b1", "b2"}


@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize("retrieved", [[], ["retrieved"]])
def test_nothing_drawn_can_be_predicted(generator, retrieved):
    """The speeds know how large images are without a generator too."""
    changes = {} if generator else {"upstream__generator": None}
    params = _params(sets=retrieved, generated_sets=[], retrieved_sets=retrieved, **changes)
    work = count_work(params, SIZES)
    assert "drawn_image" not in work.totals() and work.totals()["gradient_step"] > 0
    found = predict(work, read_speeds()["cpu"])
    stages = set(found.by_stage())
    of_sets = {"retrieve", "examine", "bridge", "finetune_mixed", "finetune_bridged"}
    assert stages & of_sets == (of_sets if retrieved else set())
    assert "finetune_real" in stages and "generate" not in stages and found.disk_bytes > 1e6


def test_images_are_those_of_all_sets_and_grids(work):
    params = _params()
    drawn = samples = 0
    for name in params.generated_sets:
        subsets = 1 if params.synthetic[name].shots is None else len(params.seeds)
        drawn += 10 * params.synthetic[name].images_per_class * subsets
        samples += 10 * params.invert.samples_per_class * (subsets if "dsi" in name else 0)
    assert work.totals()["drawn_image"] == drawn + samples
    retrieved = 10 * sum(params.retrieved[n].images_per_class for n in params.retrieved_sets)
    assert work.stored()["synthetic_image"] == drawn + retrieved


def test_a_guided_step_is_two_rows_and_a_start_image_saves_steps():
    sampling = _params(generate__num_steps=20, generate__guided_fraction=0.6).generate
    assert costs.drawing(5, sampling, 3.5)["denoised_row"] == 5 * (20 + 12)
    assert costs.drawing(5, sampling, 1.0)["denoised_row"] == 5 * 20
    assert costs.drawing(5, sampling, 1.0, 0.5)["denoised_row"] == 5 * 10
    assert costs.drawing(5, sampling, 3.5, is_told_scale=True)["denoised_row"] == 5 * 20


def test_flux_dev_takes_one_row_a_step():
    flux = {"upstream__generator": {"hub": "black-forest-labs/FLUX.1-dev", "revision": "main"}}
    steps = {"generate__guided_fraction": 1.0}
    one, two = (count_work(_params(**steps, **own), SIZES).totals() for own in (flux, {}))
    assert one["drawn_image"] == two["drawn_image"]
    assert one["denoised_row"] == two["denoised_row"] / 2


TUNED = {"synthetic__dsi_4__prompts": "template", "synthetic__dsi_4__tuned": "dataset"}
OTHER = {"upstream__generator": {"hub": "owner/other", "revision": "main"}}


def test_a_lora_of_a_generator_that_the_speeds_do_not_know_is_refused_or_counted():
    work, cpu = count_work(_params(**TUNED, **OTHER), SIZES), read_speeds()["cpu"]
    seconds = {**cpu.generators, "owner/other": cpu.generators["miniature"]}
    cpu = cpu.model_copy(update={"generators": seconds})
    with pytest.raises(ValueError, match="size of .*lora_rank.* 'owner/other'.*--measure"):
        predict(work, cpu)
    sizes = {"generator": 1e9, "real_image": 0, "synthetic_image": 0, "lora_rank": 2e9}
    of_models = {"owner/other": sizes, work.backbone: {"backbone": 0, "classifier": 0}}
    cpu = cpu.model_copy(update={"bytes": of_models})
    num_loras = work.stored()["lora_rank"]
    assert num_loras == len(_params().seeds) * _params().tune.rank
    assert predict(work, cpu).disk_bytes == 1e9 + 2e9 * num_loras


def test_inversion_counts_steps_readings_and_its_grid():
    params = _params()
    sections = params.invert, params.tune, params.generate, SIZES["digits"]
    found = costs.learning(params.synthetic["dsi_4"], *sections)
    batch, steps = params.invert.batch_size, params.invert.num_steps
    assert found["encoded_image"] == 40
    assert found["inverted_row"] == pytest.approx((steps + 11 / 3) * batch)
    assert found["drawn_image"] == 10 * params.invert.samples_per_class
    template = params.synthetic["template"]
    assert costs.learning(template, *sections) == {}


@pytest.mark.parametrize(("tuned", "num_loras"), [("dataset", 1), ("class", 10)])
def test_tuning_counts_steps_of_all_classes_and_keeps_its_loras(tuned, num_loras):
    params = _params(synthetic__dsi_4__prompts="template", synthetic__dsi_4__tuned=tuned)
    sections = params.invert, params.tune, params.generate, SIZES["digits"]
    found = costs.learning(params.synthetic["dsi_4"], *sections)
    steps = 10 * params.tune.steps_per_class + 2 / 3 * num_loras
    assert found["inverted_row"] == pytest.approx(steps * params.tune.batch_size)
    assert found["encoded_image"] == 40
    assert found["drawn_image"] == 10 * params.invert.samples_per_class
    work = count_work(params, SIZES)
    assert work.stored()["lora_rank"] == 8 * num_loras * params.tune.rank
    of_miniature = read_speeds()["cpu"].bytes["miniature"]
    assert of_miniature["lora_rank"] == pytest.approx(16384, rel=0.01)  # 32 projections


@pytest.mark.parametrize("shots", [1, 4, "full"])
def test_a_run_has_the_steps_that_training_takes(shots):
    real_leg = RealLegSettings(
        learning_rates=[0.1], select_on="validation", num_epochs=6, num_epochs_few_shot=50
    )
    plain = StageOneSettings(  # 4 x 127 x 10 classes / 64 = 79.4 steps, so 80
        num_epochs=4, images_per_class=127, learning_rate=0.05, mixup=0.0
    )
    counts = TrainingCounts(64, real_leg, {"plain": plain}, SIZES["digits"])
    legs = [LegSettings(train_on="real"), LegSettings(train_on="mixed", add_steps_of="plain")]
    found = counts.run(legs, shots, volume=600, num_judged=899)
    num_real = 748 if shots == "full" else 10 * shots
    each = real_leg_steps(num_real, shots != "full", real_leg, 64)
    assert found["gradient_step"] == 2 * each + 80
    assert found["read_image"] == num_real + num_real + 600
    assert found["predicted_row"] == 899
    mixed = num_real + 600
    rows = each * num_real / -(-num_real // 64) + (each + 80) * mixed / -(-mixed // 64)
    assert found["trained_row"] == pytest.approx(rows)


def test_a_synthetic_leg_sees_no_real_image_but_takes_the_real_ones_steps():
    real_leg = RealLegSettings(
        learning_rates=[0.1], select_on="validation", num_epochs=6, num_epochs_few_shot=50
    )
    counts = TrainingCounts(64, real_leg, {}, SIZES["digits"])
    legs = [LegSettings(train_on="synthetic")]
    found = counts.run(legs, 1, volume=640, num_judged=0)
    assert found["gradient_step"] == 50 and found["trained_row"] == 50 * 64


def test_the_filter_leaves_fewer_images_to_train_on():
    changes = {"synthetic__template__keep_fraction": 0.5, "seeds": [0], "shots": [1]}
    before, after = (
        next(
            s for s in count_work(_params(**c), SIZES).stages if s.name == "bridge@digits-template"
        )
        for c in ({"seeds": [0], "shots": [1]}, changes)
    )
    assert after.units[0]["read_image"] == before.units[0]["read_image"] / 2
    assert after.units[0]["gradient_step"] == before.units[0]["gradient_step"]


def test_real_images_alone_need_no_generator():
    changes = {"sets": [], "generated_sets": [], "retrieved_sets": [], "upstream__generator": None}
    work = count_work(_params(**changes), SIZES)
    assert work.generator is None
    assert not any(stage.stage in ("generate", "invert", "bridge") for stage in work.stages)


def _speeds(**changes):
    values = {
        "device": "a test",
        "kind": "cpu",
        "basis": "measured",
        "date": "today",
        "seconds": {"start": 3.0},
        "generators": {"G": {"row": 0.5}},
        "backbones": {"B": {"step": 2.0}},
        "bytes": {"B": {"model": 100.0}},
    }
    return Speeds(**{**values, **changes})


def test_processes_take_every_nth_unit_and_the_last_one_decides():
    units = [{"step": 1}, {"step": 5}, {"step": 1}]
    seconds = {"step": 2.0}
    assert costs.seconds_of_units(units, seconds, 1, False) == 14
    assert costs.seconds_of_units(units, seconds, 2, False) == 10  # 1 + 1 and 5 steps
    assert costs.seconds_of_units(units, seconds, 8, False) == 10
    assert costs.seconds_of_units(units, seconds, 8, True) == 14 / 8  # all share each model
    assert costs.seconds_of_units([], seconds, 2, False) == 0


def test_a_forecast_adds_starts_and_the_slowest_process():
    stage = StageWork(
        "finetune_real@x", ({"step": 3}, {"step": 1}, {"row": 4}), {"start": 1}, {"model": 3}
    )
    single = replace(stage, name="report@x", units=({"step": 1},), stored={}, most_processes=1)
    found = predict(Work("G", "B", (stage, single)), _speeds(), processes=2)
    assert found.by_stage() == {"finetune_real": 3 + 3 * 2 + 4 * 0.5, "report": 3 + 2}
    assert found.seconds == 16
    assert found.device_hours == pytest.approx((11 * 2 + 5) / 3600)
    assert found.disk_bytes == 300
    one = predict(Work("G", "B", (stage,)), _speeds(), processes=1)
    assert one.seconds == 3 + 8 + 2


def test_a_model_without_speeds_is_named():
    with pytest.raises(ValueError, match="no speed of backbone 'C' on a test.*known: B.*--measure"):
        predict(Work("G", "C", ()), _speeds())


def test_the_paper_at_full_size_has_speeds_that_know_it():
    params = read_params(ROOT / "profiles" / "paper.yaml")
    size = DatasetSize(100, 5967, 700, 3333)
    work = count_work(params, dict.fromkeys(params.datasets, size))
    assert work.generator == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert work.backbone == "resnet18 224"
    # 100 classes x 1,000 images of two sets, and a grid of one a class.
    assert work.totals()["drawn_image"] == 200_100


def test_a_given_rate_is_tried_by_no_model():
    rate = {"learning_rates": [0.01], "select_on": "nothing"}
    real_leg = read_params(ROOT / "params.yaml").real_leg.model_copy(update=rate)
    stages = {stage.stage: stage for stage in count_work(_params(real_leg=real_leg), SIZES).stages}
    assert stages["select"].units == () and stages["finetune_real"].units


def test_a_model_is_chosen_among_those_of_the_highest_number_of_shots():
    work = count_work(_params(), SIZES)
    (delivered,) = [stage for stage in work.stages if stage.name == "deliver@digits"]
    params = _params()
    arms = {family: len(arms) for family, arms in params.arms}
    sets = [name for name in params.sets if not name.endswith("_1")]  # of one shot: not at four
    num_models = arms["real"] + (arms["mixed"] + arms["bridged"]) * len(sets)
    (units,) = delivered.units
    assert units["predicted_row"] == 150 * num_models * len(params.seeds)


GENERATORS = [name for name in read_speeds()["h200"].generators if "v1-5" not in name]


@pytest.mark.parametrize("hub", GENERATORS)
def test_every_family_of_generators_is_forecast_from_its_counts(hub):
    """What is drawn and how often the denoiser runs is counted alike; the speeds are its own."""
    own = {"upstream__generator": {"hub": hub, "revision": "main"}}
    work, usual = count_work(_params(**own), SIZES), count_work(_params(), SIZES)
    for kind in ("drawn_image", "denoised_row", "inverted_row"):
        assert work.totals()[kind] == usual.totals()[kind]
    speeds = read_speeds()
    both = speeds["h200"].model_copy(update={"backbones": speeds["cpu"].backbones})
    found = predict(work, both)
    seconds = both.generators[hub]
    rows, images = (
        sum(
            unit.get(kind, 0)
            for stage in work.stages
            if stage.stage == "generate"
            for unit in stage.units
        )
        for kind in ("denoised_row", "drawn_image")
    )
    drawing = rows * seconds["denoised_row"] + images * seconds["drawn_image"]
    assert found.by_stage()["generate"] > drawing
    assert found.fetched_bytes >= both.bytes[hub]["generator"]


def test_lcm_takes_one_row_a_step_whatever_the_scale():
    sampling = _params().generate.model_copy(update={"sampler": "lcm", "num_steps": 4})
    assert costs.drawing(10, sampling, 8.0) == {"denoised_row": 40, "drawn_image": 10}
