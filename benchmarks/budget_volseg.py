"""Run `volseg train` with its minutes counted in CPU time.

    PYTHONPATH=CHECKOUT python benchmarks/budget_volseg.py DATASET -o RUN --minutes 20 [any option of volseg train]

Every module of `volseg.training` that looks at a clock is given that of the process, so planning, validations on the
way and the last validation take their shares of CPU time as they take them of time. The rest is the command as it is.
"""

import importlib
import pkgutil
import sys
import time
from types import SimpleNamespace

from cpu_clock import cpu_seconds

import volseg.training
from volseg.cli import main


def count_cpu_time() -> None:
    clock = SimpleNamespace(**vars(time))
    clock.monotonic = clock.perf_counter = cpu_seconds
    patched = set()
    for entry in pkgutil.iter_modules(volseg.training.__path__):
        module = importlib.import_module(f"volseg.training.{entry.name}")
        if getattr(module, "time", None) is time:
            module.time = clock
            patched.add(entry.name)
    if missing := {"state", "validation"} - patched:
        sys.exit(f"volseg.training: {', '.join(sorted(missing))} no longer import time; tell this script which do")


if __name__ == "__main__":
    count_cpu_time()
    sys.argv[1:1] = ["train"]
    main()
