"""What trainings cost, run by run: for the stages that train, and for plans of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthbridge.forecast import amounts
from synthbridge.forecast.amounts import Amounts
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.training.schedule import num_batches
from synthbridge.training.settings import LegSettings, RealLegSettings, StageOneSettings

VANILLA = (LegSettings(train_on="real"),)  # what `select` tries learning rates with


@dataclass(frozen=True)
class TrainingCounts:
    """Counts the trainings on one data set."""

    batch_size: int
    real_leg: RealLegSettings
    stage_one: Mapping[str, StageOneSettings]
    size: DatasetSize

    def stage_one_steps(self, name: str) -> int:
        """Return the gradient steps of a stage-one model."""
        return self.stage_one[name].steps(self.size.num_classes, self.batch_size)

    def trial(self, shots: int | str) -> Amounts:
        """One model of `select`, and the images of the split that selects."""
        num_judged = getattr(self.size, f"num_{self.real_leg.select_on}")
        return self.run(VANILLA, shots, volume=0, num_judged=num_judged)

    def run(
        self,
        legs: Sequence[LegSettings],
        shots: int | str,
        *,
        volume: int,
        num_judged: int,
    ) -> Amounts:
        """One model: its legs, and the images that it is then judged on.

        Args:
            legs: of its arm.
            shots: real images a class that it sees.
            volume: images of its synthetic set.
            num_judged: images that the model is judged on.
        """
        num_real = self.size.num_seen(shots)
        is_few_shot = shots != "full"
        epochs = getattr(self.real_leg, "num_epochs_few_shot" if is_few_shot else "num_epochs")
        parts: list[Amounts] = [
            {"training": 1, "read_image": num_real, "predicted_row": num_judged}
        ]
        if any(leg.train_on in ("mixed", "synthetic") for leg in legs):
            parts.append({"read_image": num_real + volume})
        for leg in legs:
            if leg.train_on is None:
                continue
            seen = {"real": num_real, "synthetic": volume, "mixed": num_real + volume}
            # As training.arms.real_leg_steps, which would load torch.
            steps = epochs * num_batches(num_real, self.batch_size)
            steps += self.stage_one_steps(leg.add_steps_of) if leg.add_steps_of else 0
            parts.append(amounts.leg(seen[leg.train_on], steps, self.batch_size))
        return amounts.add(*parts)
