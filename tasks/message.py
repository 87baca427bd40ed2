"""Message: tell people of an event, by e-mail or in whatever else Apprise reaches."""

from __future__ import annotations

import json
import logging
from typing import Any

from mucs import InputError
from mucs.outbox import Event
from mucs.text import first_line, for_terminal
from tasks.webhook import Outcome


class Message:
    """Whoever is told at an address of Apprise, such as `mailto://user:word@mail.example.org?to=ops@example.org`.

    Attributes:
        name: The address without its secrets.
    """

    def __init__(self, address: str) -> None:
        """Args: address: as Apprise has it.

        Raises:
            InputError: If Apprise does not know such addresses; it is not shown, as it may have a password.
        """
        from apprise import Apprise

        instantiate: Any = Apprise.instantiate  # it and what it gives have no types
        self._service = instantiate(address, suppress_exceptions=True)
        if not self._service:
            scheme = address.partition(":")[0]
            raise InputError(
                f"No receiver is reached at an address that begins with {scheme!r} and is written so; give one of https, or one"
                " of Apprise, such as mailto://user:password@mail.example.org?to=ops@example.org."
            )
        self.name = str(self._service.url(privacy=True))

    def send(self, event: Event) -> Outcome:
        """Tell of an event; whatever goes wrong, nothing is raised for it."""
        from apprise import NotifyFormat

        heard = _Heard()
        logger = logging.getLogger("apprise")
        logger.addHandler(heard)
        try:
            done = self._service.notify(
                title=f"mucs: {sentence(event)}", body=body(event), body_format=NotifyFormat.TEXT
            )
        except Exception as error:  # whatever a service of Apprise's may raise
            return Outcome(f"it cannot be told ({first_line(error)})")
        finally:
            logger.removeHandler(heard)
        return Outcome() if done else Outcome(f"it cannot be told ({heard.last or 'Apprise does not say why'})")


class _Heard(logging.Handler):
    """The last thing that Apprise warned of."""

    last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and self.last is None:
            self.last = for_terminal(record.getMessage(), 200)


def sentence(event: Event) -> str:
    """An event in a few words."""
    said = event.data
    match event.type:
        case "job.failed":
            return f"{said['job']} failed"
        case "job.late":
            return f"{said['job']} has not begun"
        case "job.missing":
            return f"{said['job']} was not completed for {said['hours']:g} hours"
        case "prefect.away":
            return "Prefect does not answer"
        case "verify.failed":
            return "a verification did not hold"
        case "run.published":
            return f"run {said['run'][:12]} was published"
        case "statement.issued":
            return f"statement {said['statement'][:12]} was issued"
    return event.type


def body(event: Event) -> str:
    """All that there is to say of an event, in lines."""
    told = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in event.data.items()]
    return "\n".join([f"{sentence(event)}.", "", *told, f"at: {event.at}", f"event: {event.type} {event.id}"])
