"""Data sets, manifests and shards: knows disks, no model."""
