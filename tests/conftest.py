"""What all tests share."""

import os

# Tests run beside one another and beside others: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["SYNTHBRIDGE_PROCESSES"] = os.environ.get("SYNTHBRIDGE_PROCESSES", "1")
