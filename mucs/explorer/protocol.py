"""Protocol: HTTP/1.1 as uvicorn speaks it over h11, which bounds what comes before a body; and what comes that is no HTTP."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol


class Protocol(H11Protocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no HTTP; while a request is being answered nothing else can be said, so the connection ends."""
        if self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
        else:
            self.transport.close()
