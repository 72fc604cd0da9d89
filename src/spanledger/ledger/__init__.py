"""The pure core: decode, normalise, price.

Promises: functions of their arguments only, the same answer for the same bytes.
Never: reads a clock, a file, a socket or the environment; imports another part of spanledger. Only
``estimate`` asks what time it is, where its caller did not say.
"""
