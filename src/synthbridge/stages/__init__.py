"""The commands of the pipeline, one file each; the only place that parses arguments."""
