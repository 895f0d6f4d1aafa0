"""All that we know or assume about Verbex: how it signs, what it sends, what it answers.

The event's envelope, the signature, the REST client and the subscriptions belong here. Nothing about our own
files does. See `connector.fetch` for where answers are stored.
"""
