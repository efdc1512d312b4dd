"""Synthbridge: find out whether synthetic images help your data, and use them when they do."""
