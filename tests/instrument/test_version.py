from importlib.metadata import version

import spanledger


def test_the_version_is_that_of_the_distribution() -> None:
    assert spanledger.__version__ == version("spanledger")
