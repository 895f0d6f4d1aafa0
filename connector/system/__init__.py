"""Services of the operating system: durable files, locks, signals, logs and the `.env` file.

Code that any program could use belongs here. Nothing about events, landing or Verbex does.
"""
