"""All that we know or assume of Verbex: how it signs, what it sends, what it answers.

Here belong the event's envelope, the signature, the REST client and the subscriptions. What does not: where
answers are kept (`connector.fetch`), and anything about our own files.
"""
