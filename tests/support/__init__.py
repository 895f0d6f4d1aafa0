"""Helpers that several test files share: receivers, data folders, processes, and an independent oracle."""
