"""The floor: files, settings, units of work and their keys, what a stage says."""
