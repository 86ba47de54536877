"""Notify of the end of a night by a POST of JSON or a command. Errors here are logged and fail nothing."""

import json
import logging
import os
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

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


def masked(address: str) -> str:
    """Return only the scheme and the host of an address: the rest may hold a secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}/…"


def _post(address: str, event: Event, wait_seconds: float) -> bool:
    body = json.dumps(asdict(event), ensure_ascii=False).encode()
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(wait_seconds * 2 ** (attempt - 1))
        try:
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            problem = f"status {error.code}"
            error.close()
        except (OSError, ValueError) as error:
            problem = type(error).__name__  # its text may repeat the address
    logger.warning("webhook %s failed (%s, %d attempts)", masked(address), problem, ATTEMPTS)
    return False


def _run(command: tuple[str, ...], event: Event) -> bool:
    words = {f"NIGHTUNE_{name.upper()}": "" if value is None else str(value) for name, value in asdict(event).items()}
    try:
        subprocess.run(
            command,
            env=os.environ | words,
            timeout=COMMAND_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        logger.warning("hook %s failed with exit code %d", command[0], error.returncode)
        return False
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("hook %s did not complete (%s)", command[0], type(error).__name__)
        return False
    return True
