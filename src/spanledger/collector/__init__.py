"""The stateful shell: receive, make durable, acknowledge, store, expose.

Data flows one way: receiver -> commit -> journal (acknowledged) -> writer -> store; metrics are fed
on the way. Before the acknowledgement nothing waits for the store.
"""
