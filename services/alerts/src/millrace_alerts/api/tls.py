"""The certificate by which the API is served, read anew when its files change: it is renewed while the service runs."""

import ssl
from pathlib import Path

from millrace_contract.errors import CannotStart
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.settings import variable

LOOK_EVERY_S = 60.0

_log = get_logger(__name__)


class Certificate:
    """A certificate with its chain, and its key, PEM. Raises CannotStart where they cannot be used from the start."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.problem: str | None = None
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._seen = self._times()
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            raise CannotStart(
                variable("https_certificate"), f"{self._in_words(error)}; the files are PEM, with the chain"
            ) from error

    def look(self) -> None:
        """Take what the files hold now, for connections from now on. What cannot be used leaves the former one in force."""
        try:
            if (times := self._times()) == self._seen:
                return
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            problem = f"the certificate for HTTPS is the former one: {self._in_words(error)}"
            if problem != self.problem:
                _log.error("certificate_unusable", problem=problem)
            self.problem = problem
        else:
            self._seen, self.problem = times, None
            _log.info("certificate_loaded", path=str(self._files[0]))

    def _times(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in self._files)

    def _in_words(self, error: OSError) -> str:
        if isinstance(error, ssl.SSLError):
            return f"{self._files[0]} and {self._files[1]} are no certificate and its key ({error.reason or error})"
        return f"{error.filename or self._files[0]} cannot be read: {error.strerror}"
