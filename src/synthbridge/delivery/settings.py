"""Settings of what is delivered: `deliver` in params.yaml."""

from synthbridge.core.settings import Settings


class DeliverSettings(Settings):
    """`deliver` in params.yaml."""

    # Deliver all seeds' models of the chosen arm together, their probabilities averaged, where
    # that reads held-out images better than one of them does; false: one model.
    ensemble: bool
