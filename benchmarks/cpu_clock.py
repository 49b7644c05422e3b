"""The clock of the budgets: CPU time of this process and its finished children, as machines are shared."""

import os
import time


def cpu_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system
