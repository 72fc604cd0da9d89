"""An environment for each adapter, and how to ask the adapter in it.

Promises: exact versions, from ``requirements-NAME.txt``; an environment is made once and again
when its file changes; a library under test sees nothing of this project's own environment.
Never makes one unasked: ``is_ready`` tells, ``make`` makes.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parent / ".conformance"
# spanledger itself is asked in the environment that runs this.
OURS: Final = "spanledger"
ADAPTERS: Final = (OURS, "genai-prices", "litellm", "tokencost")

# Installing is a download of up to 200 MB; asking is a few seconds, most of them for imports.
INSTALL_SECONDS_MAX: Final = 900
ASK_SECONDS_MAX: Final = 300


def requirements(name: str, home: Path = HERE) -> Path:
    """The file with the exact versions of an environment."""
    return home / f"requirements-{name}.txt"


def version(name: str) -> str:
    """The release of the library that is asked."""
    if name == OURS:
        return ""
    pins = requirements(name).read_text().splitlines()
    return next(pin.partition("==")[2] for pin in pins if pin.startswith(f"{name}=="))


def is_ready(name: str, cache: Path = CACHE, home: Path = HERE) -> bool:
    """Is there an environment with the versions that the file has now?"""
    return name == OURS or (_mark(name, cache, home).exists() and python(name, cache).exists())


def make(name: str, cache: Path = CACHE, home: Path = HERE) -> None:
    """Make the environment anew.

    Raises:
        SystemExit: the versions cannot be installed.
    """
    venv.create(cache / name, clear=True, with_pip=True)
    # The files name every package, so nothing is left to resolve. One release of LiteLLM asks
    # for a certifi that some registries do not have yet; what it does here needs none at all.
    command = [str(python(name, cache)), "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--requirement", str(requirements(name, home))]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
    )
    if done.returncode:
        raise SystemExit(f"cannot install {requirements(name, home).name}:\n{done.stderr[-2_000:]}")
    _mark(name, cache, home).touch()


def ask(
    name: str, vectors: Sequence[Mapping[str, Any]], cache: Path = CACHE
) -> list[dict[str, Any]]:
    """The adapter's answers, one for each vector.

    Raises:
        SystemExit: the adapter itself broke; a library that raises is an answer.
    """
    script = HERE / "adapters" / f"{name.replace('-', '_')}_adapter.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if name == OURS:
        environment["PYTHONPATH"] = str(HERE.parent / "src")
    done = subprocess.run(
        [python(name, cache), script],
        input="".join(json.dumps(vector) + "\n" for vector in vectors),
        capture_output=True,
        text=True,
        timeout=ASK_SECONDS_MAX,
        env=environment,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(vectors):
        raise SystemExit(
            f"{script.name} answered {len(answers)} of {len(vectors)} vectors:\n"
            f"{done.stderr[-2_000:]}"
        )
    return answers


def python(name: str, cache: Path = CACHE) -> Path:
    """The interpreter of an environment."""
    return Path(sys.executable) if name == OURS else cache / name / "bin" / "python"


def _mark(name: str, cache: Path, home: Path) -> Path:
    pins = sha256(requirements(name, home).read_bytes()).hexdigest()[:16]
    return cache / name / f".installed-{pins}"
