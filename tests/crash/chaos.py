"""``make chaos``: the promises under fire, for as long as you like.

Promises: everything has a seed that is printed and repeats its decisions. What a run of kills has
done is kept in a file, and the same command goes on from there; another level runs once for each
seed and leaves its files only if it found something. The exit code is 0 only if every verdict is
clean. Never claims more than was run: the bound is of the kills that happened.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers, as pytest has them

from crash import kills
from crash.faulted import POINTS
from crash.levels import LEVELS

_BLOCK: Final = 10  # kills on one directory before its ledger is judged


def main() -> int:
    """Run what is asked for."""
    options = _options()
    return _kills(options) if options.level == "kills" else _level(options)


def _level(options: argparse.Namespace) -> int:
    clean = True
    for seed in range(options.seed, options.seed + options.seeds):
        for name, prove in LEVELS[options.level].proofs.items():
            print(f"{options.level}: {name}, seed {seed} ...", flush=True)
            directory = Path(tempfile.mkdtemp(prefix=f"spanledger-{options.level}-"))
            started = time.monotonic()
            outcome = prove(directory, seed, options.port)
            print(f"  {outcome}\n  {time.monotonic() - started:.0f} s", flush=True)
            if outcome.clean:
                shutil.rmtree(directory)
            else:
                clean = False
                print(f"  its files stay in {directory}")
    return 0 if clean else 1


def _kills(options: argparse.Namespace) -> int:
    """Run the kills that are asked for and not yet done."""
    state = options.state or Path(tempfile.gettempdir()) / f"spanledger-chaos-{options.seed}.jsonl"
    done = [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []
    stop = time.monotonic() + options.minutes * 60
    plan = list(_plan(options))
    print(f"seed {options.seed}, {len(plan)} blocks of {_BLOCK} kills, results in {state}")
    finished = {(result["point"], result["seed"]) for result in done}
    for number, (point, seed) in enumerate(plan, 1):
        if (point, seed) in finished:
            continue
        if time.monotonic() > stop:
            print(f"time is up before block {number}; the same command goes on from here")
            break
        done.append(_run(point, seed, options.port))
        with state.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(f"[{number}/{len(plan)}] {_line(done[-1])}", flush=True)
    return _summary(done)


def _options() -> argparse.Namespace:
    levels = "\n".join(f"  {name:<8} {level.about}" for name, level in LEVELS.items())
    parser = argparse.ArgumentParser(
        description=f"{(__doc__ or '').partition(chr(10))[0]}\n\nlevels:\n"
        f"  kills    kill -9 at every named point and at random instants, under load\n{levels}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("level", nargs="?", default="kills", choices=["kills", *LEVELS])
    parser.add_argument("--seed", type=int, default=1, help="of the first block or run [1]")
    parser.add_argument("--port", type=int, default=0, help="first of its ports, six at most [any]")
    parser.add_argument("--seeds", type=int, default=1, help="runs of a level but kills [1]")
    of_kills = parser.add_argument_group("of the level kills")
    of_kills.add_argument("--kills", type=int, default=300, help="kills at random instants [300]")
    of_kills.add_argument("--points", type=int, default=50, help="kills at each named point [50]")
    of_kills.add_argument("--minutes", type=float, default=120, help="begin no block later [120]")
    of_kills.add_argument("--only", metavar="NAME", help=f"random, or one of {', '.join(POINTS)}")
    of_kills.add_argument("--state", type=Path, help="file of results, to resume from")
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """The blocks in turn, so that a run cut short has seen every point."""
    wanted = dict.fromkeys(POINTS, options.points) | {"random": options.kills}
    if options.only:
        wanted = {options.only: wanted[options.only]}
    for turn in range(-(-max(wanted.values()) // _BLOCK)):
        for point, count in wanted.items():
            if turn * _BLOCK < count:
                yield point, options.seed * 10_000 + turn


def _run(point: str, seed: int, port: int) -> dict[str, Any]:
    directory = Path(tempfile.mkdtemp(prefix="spanledger-chaos-"))
    try:
        result = {"point": point} | kills.block(directory, [point] * _BLOCK, seed, port)
    except Exception as error:
        print(f"block {point!r} seed {seed} broke ({error!r}); its files stay in {directory}")
        raise
    if result["clean"] and result["conserved"]:
        shutil.rmtree(directory)
    else:
        print(f"NOT CLEAN: {result}; its files stay in {directory}")
    return result


def _line(result: dict[str, Any]) -> str:
    return (
        f"{result['point']:<14} seed {result['seed']}: {result['kills']} kills,"
        f" {result['acknowledged']} acknowledged, {result['lost']} lost,"
        f" {result['duplicate']} duplicate, {result['phantom']} phantom,"
        f" money error {result['money_error_usd']}"
    )


def _summary(done: Sequence[dict[str, Any]]) -> int:
    print(f"\n{'point':<14} {'kills':>6} {'acked':>9} {'lost':>5} {'dup':>5} {'phantom':>8}  money")
    total = 0
    for point in (*POINTS, "random"):
        results = [result for result in done if result["point"] == point]
        sums = {
            name: sum(result[name] for result in results)
            for name in ("kills", "acknowledged", "lost", "duplicate", "phantom")
        }
        total += sums["kills"]
        wrong = sum(result["money_error_usd"] not in {"0", "0E-18"} for result in results)
        print(
            f"{point:<14} {sums['kills']:>6} {sums['acknowledged']:>9} {sums['lost']:>5}"
            f" {sums['duplicate']:>5} {sums['phantom']:>8}  {'WRONG' if wrong else 'exact'}"
        )
    clean = all(result["clean"] and result["conserved"] for result in done)
    bound = f"{min(3 / total, 1):.2%}" if total else "no"
    print(f"{total} kills; {'clean' if clean else 'NOT CLEAN'}; {bound} a kill (95 % bound)")
    return 0 if clean and total else 1


if __name__ == "__main__":
    sys.exit(main())
