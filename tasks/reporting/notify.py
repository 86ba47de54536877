"""Notify of the end of a night by a POST of JSON or a command. Errors here are logged and fail nothing."""

import logging
import os
import subprocess
import time
from dataclasses import asdict, dataclass

from nightune.settings import INTERNAL, host_only
from nightune.tasks.http import request_status

ATTEMPTS = 3
WAIT_SECONDS = 1.0  # before the second attempt; doubled before the third
WEBHOOK_SECONDS = 10.0
COMMAND_SECONDS = 60.0

logger = logging.getLogger("nightune")


@dataclass(frozen=True, slots=True)
class Hooks:
    """A webhook's address and a command's words; empty if there is none."""

    webhook: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a night of a study: `promoted`, `refused`, `failed` or `crashed`."""

    event: str
    study: str
    sweep: str = ""
    reason: str = ""
    version: int | None = None
    page: str = ""
    flow_run_id: str = ""


def notify(hooks: Hooks, event: Event, wait_seconds: float = WAIT_SECONDS) -> bool:
    """Notify the webhook and the command; return whether those that are set succeeded."""
    results = [_post(hooks.webhook, event, wait_seconds)] if hooks.webhook else []
    results += [_run(hooks.command, event)] if hooks.command else []
    return all(results)


def _post(address: str, event: Event, wait_seconds: float) -> bool:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(wait_seconds * 2 ** (attempt - 1))
        try:
            status = request_status("POST", address, WEBHOOK_SECONDS, json=asdict(event))
        except (OSError, ValueError) as error:
            problem = str(error) if isinstance(error, OSError) else "the event cannot be sent"
            continue
        if 200 <= status < 300:
            return True
        problem = f"status {status}"
    logger.warning("webhook %s failed (%s, %d attempts)", host_only(address), problem, ATTEMPTS)
    return False


def _run(command: tuple[str, ...], event: Event) -> bool:
    words = {f"NIGHTUNE_{name.upper()}": "" if value is None else str(value) for name, value in asdict(event).items()}
    try:
        subprocess.run(
            command,
            env={name: value for name, value in os.environ.items() if name not in INTERNAL} | words,
            timeout=COMMAND_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        logger.warning("hook %s failed with exit code %d", command[0], error.returncode)
        return False
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: a null character in a text
        logger.warning("hook %s did not complete (%s)", command[0], type(error).__name__)
        return False
    return True
