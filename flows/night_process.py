"""The process of one night: import the flow, and run Prefect's engine.

The engine imports the flow with the working folder first on the path of modules: a clone of Nightune there, or a file
named like a library, would be imported instead. What is imported already stays.
"""

import runpy
import sys
from contextlib import suppress

from nightune.tasks.tracking.store.autologging import ignore_autologging


def main() -> None:
    """Run the flow run that the environment names."""
    ignore_autologging()
    with suppress(Exception):  # the engine imports it again, and reports the error
        import nightune.flows.nightly  # noqa: F401, PLC0415
    sys.modules.pop("prefect.engine", None)  # or Python warns that it is imported twice
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
