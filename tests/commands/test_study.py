import re

import pytest
from studies.full_scale import full_workspace, pinned

from house import ROOT
from synthbridge.commands.study import refuse_unpinned
from synthbridge.studies.definition import read_study
from synthbridge.studies.planning import points_of

STUDIES = ROOT / "studies"


def test_all_models_without_a_commit_are_said_before_anything_runs(tmp_path):
    studies = {name: read_study(name, STUDIES) for name in ("bridged-fig8", "bridged-fig6")}
    scale = studies["bridged-fig8"].full
    workspace = full_workspace(tmp_path, scale.prepare)

    def plans(change):
        return {
            name: [workspace.plan(change(one.full), point) for point in points_of(change(one.full))]
            for name, one in studies.items()
        }

    with pytest.raises(ValueError) as error:
        refuse_unpinned(plans(lambda scale: scale))
    models = re.escape(
        "studies/bridged-fig8.yaml: resnet50.tv_in1k, vit_base_patch16_224.augreg_in1k, "
        "vit_large_patch16_224.augreg_in21k_ft_in1k; write each one's commit there"
    )
    assert re.search(models, str(error.value)) and "bridged-fig6" not in str(error.value)
    refuse_unpinned(plans(pinned))
