"""What the operating system gives us: durable files, locks, signals, logs and the `.env` file.

Here belongs what any program could use as it is. What does not: anything about events, landing or Verbex.
"""
