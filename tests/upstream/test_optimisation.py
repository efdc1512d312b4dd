import torch

from synthbridge.upstream.optimisation import make_optimiser, take_steps


def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser, schedule = make_optimiser([weight], 2e-3, 100)
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert max(rates) == rates[14] == 2e-3  # 15 % of the steps
    assert rates[0] < 1e-4 and rates[-1] < 1e-6


def test_all_steps_are_taken():
    taken = []
    take_steps((taken.append(step) or 0.5 for step in range(3)), 3, "training")
    assert taken == [0, 1, 2]
