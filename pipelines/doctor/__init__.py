"""What may be wrong with an installation: settings, machine, landing, tables, and Verbex's end.

Looking belongs here, with the fix for what is found. Changing anything does not.
"""
