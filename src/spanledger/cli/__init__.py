"""The command line: ``serve``, ``check-config``, ``report``, ``version``.

What a person can put right is told in plain sentences on stderr with exit code 2; a traceback is
a defect. Each command imports its own parts, so that help and version come at once.
"""
