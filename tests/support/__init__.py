"""What several test files share: real receivers, data folders and processes, and an independent oracle."""
