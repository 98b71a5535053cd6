"""The plant's certificate authority, and the one that takes its place while both are trusted (decision 0020).

`ca.crt` and `ca.key` sign; `ca-next.*` lie beside them from `begin` until `switch`. The broker's certificate comes with the next
authority behind it, so that our services and gateways learn it from a connection that they trust; kits hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from millrace_contract.errors import ConfigurationProblems, Problem, Refusal
from millrace_contract.runtime.mqtt.trust import fingerprint

from .certificates import KeyPair, der_of, ends, is_pair, make_authority, make_server, renewal_reason, server_names
from .secret_files import SecretFiles

BEGIN_BEFORE = timedelta(days=2 * 365)
"""So long before the authority ends `up` makes the next one: every gateway connects anew meanwhile."""
SWITCH_BEFORE = timedelta(days=30)
"""So long before its end nothing is waited for any more."""


def current(files: SecretFiles) -> KeyPair | None:
    """The authority that signs."""
    _finish_switch(files)
    return _pair(files, "ca")


def coming(files: SecretFiles) -> KeyPair | None:
    """The one that takes its place, from `begin` until `switch`."""
    _finish_switch(files)
    return _pair(files, "ca-next")


def trusted(files: SecretFiles) -> str | None:
    """What everybody outside must trust now, PEM: one certificate, or two while one is replaced."""
    held = [pair.certificate.strip() for pair in (current(files), coming(files)) if pair is not None]
    return "\n".join(held) or None


def name_of(pair: KeyPair) -> str:
    """As statuses name it."""
    return fingerprint(der_of(pair.certificate))


def ensure(files: SecretFiles, hostnames: str, now: datetime) -> list[str]:
    """Bring authority and server certificate up to date; what was done, in words. Raises ConfigurationProblems."""
    done = []
    if current(files) is None:
        _write(files, "ca", make_authority(now))
        done.append("certificate authority made")
    left = ends(_needed(files).certificate) - now
    if left < BEGIN_BEFORE and coming(files) is None:
        begin(files, now)
        done.append(f"the certificate authority ends in {left.days} days: the next one was made beside it (access use-new-ca)")
    if left < SWITCH_BEFORE:
        switch(files)
        done.append("the next certificate authority signs from now on")
    if reason := ensure_server(files, server_names(hostnames), now, hostnames):
        done.append(reason)
    return done


def ensure_server(files: SecretFiles, names: Sequence[str], now: datetime, asked: str = "") -> str | None:
    """The broker's certificate, signed by the authority, with the next one behind it; what was done, None: nothing."""
    authority, following = _needed(files), coming(files)
    present, key = files.read("mosquitto", "server.crt"), files.read("mosquitto", "server.key")
    reason: str | None
    if present is None or key is None:
        reason = "there was none"
    elif not is_pair(present, key):
        reason = "the last one and its key did not belong together"
    else:
        reason = renewal_reason(present, authority.certificate, names, now)
    leaf = _first(present or "")
    if reason is not None:
        try:
            server = make_server(authority, names, now)
        except (ValueError, UnicodeError) as refused:
            problem = Problem("environment", 0, "MILLRACE_HOSTNAME", f"{asked!r} is no list of host names: {refused}")
            raise ConfigurationProblems([problem]) from refused
        leaf = server.certificate
        files.write("mosquitto", "server.key", server.key)
    files.write("mosquitto", "server.crt", leaf + (following.certificate if following is not None else ""))
    return None if reason is None else f"broker certificate made for {', '.join(names)} ({reason})"


def begin(files: SecretFiles, now: datetime) -> KeyPair:
    """The next authority beside the present one; the one that lies there already, where there is one."""
    present = coming(files)
    if present is None:
        _needed(files)
        present = make_authority(now)
        _write(files, "ca-next", present)
    return present


def switch(files: SecretFiles) -> None:
    """The next authority becomes the one that signs. Killed at any instant: done with the next look."""
    following = coming(files)
    if following is None:
        raise Refusal("there is no next authority yet: `millrace access new-ca` makes one")
    files.write("admin", "ca.key", following.key)
    _finish_switch(files)


def _finish_switch(files: SecretFiles) -> None:
    """The key of the next authority in the place of the present one's is what tells that it was switched."""
    certificate, key = files.read("admin", "ca-next.crt"), files.read("admin", "ca.key")
    if certificate is None or key is None or not is_pair(certificate, key):
        return
    files.write("admin", "ca.crt", certificate + "\n")
    for name in ("ca-next.key", "ca-next.crt"):
        files.path("admin", name).unlink(missing_ok=True)


def _needed(files: SecretFiles) -> KeyPair:
    pair = current(files)
    if pair is None:
        raise Refusal("nothing is set up yet; start the platform first")
    return pair


def _pair(files: SecretFiles, name: str) -> KeyPair | None:
    certificate, key = files.read("admin", f"{name}.crt"), files.read("admin", f"{name}.key")
    return None if certificate is None or key is None else KeyPair(certificate + "\n", key + "\n")


def _write(files: SecretFiles, name: str, pair: KeyPair) -> None:
    files.write("admin", f"{name}.key", pair.key)
    files.write("admin", f"{name}.crt", pair.certificate)


def _first(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    head, found, _ = chain.partition(end)
    return f"{head}{found}\n" if found else ""
