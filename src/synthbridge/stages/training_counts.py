"""The trainings that a params.yaml asks for, run by run, as the stages deal them to processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synthbridge.stages import costs
from synthbridge.stages.costs import Amounts
from synthbridge.stages.params import Params
from synthbridge.stages.sizes import DatasetSize
from synthbridge.training.schedule import num_batches
from synthbridge.training.settings import LegSettings


@dataclass(frozen=True)
class TrainingCounts:
    """Counts the trainings on one data set."""

    params: Params
    size: DatasetSize

    def trials(self) -> Iterator[Amounts]:
        """Each training of `select`."""
        num_judged = getattr(self.size, f"num_{self.params.real_leg.select_on}")
        for shots in self.params.shots:
            for _ in range(len(self.params.seeds) * len(self.params.real_leg.learning_rates)):
                yield self.run([LegSettings(train_on="real")], shots, None, num_judged)

    def stage_one(self, set_: str) -> Iterator[Amounts]:
        """Each stage-one model of a set."""
        num_images = self._volume(set_)
        for _ in self.params.seeds:
            for settings in self.params.stage_one.values():
                fixed = {"training": 1, "read_image": num_images / len(self.params.stage_one)}
                yield costs.add(fixed, self._leg(num_images, settings.num_steps))

    def finetuned(
        self, arms: Sequence[Sequence[LegSettings]], set_: str | None
    ) -> Iterator[Amounts]:
        """Each run of a family of arms, in the order in which they are dealt."""
        own = self.params.set_settings(set_).shots if set_ else None
        for shots in self.params.shots:
            if own is None or shots == own:
                for _ in self.params.seeds:
                    for legs in arms:
                        yield self.run(legs, shots, set_, self.size.num_test)

    def run(
        self, legs: Sequence[LegSettings], shots: int | str, set_: str | None, num_judged: int
    ) -> Amounts:
        """One model: its legs, and the images that it is then judged on."""
        num_real = self.size.num_seen(shots)
        real_leg = self.params.real_leg
        epochs = real_leg.num_epochs if shots == "full" else real_leg.num_epochs_few_shot
        parts: list[Amounts] = [{"training": 1, "predicted_row": num_judged}]
        for leg in legs:
            if leg.train_on is None:
                continue
            volume = self._volume(set_) if set_ and leg.train_on != "real" else 0
            seen = volume if leg.train_on == "synthetic" else num_real + volume
            # As training.arms.real_leg_steps, which would load torch.
            steps = epochs * num_batches(num_real, self.params.training.batch_size)
            steps += self.params.stage_one[leg.add_steps_of].num_steps if leg.add_steps_of else 0
            parts += [{"read_image": seen}, self._leg(seen, steps)]
        return costs.add(*parts)

    def _leg(self, num_images: int, num_steps: int) -> Amounts:
        return costs.leg(num_images, num_steps, self.params.training.batch_size)

    def _volume(self, set_: str) -> int:
        """Images of a set that one run sees."""
        return self.size.num_classes * self.params.set_settings(set_).images_per_class
