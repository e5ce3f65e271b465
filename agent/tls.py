"""TLS on the agent's side: its certificate, and callers that must show one with the right name."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.pem import loading
from agent.settings import PREFIX, AgentSettings


def server_context(settings: AgentSettings) -> ssl.SSLContext | None:
    """The context to serve with, or None without TLS. With a client CA, a caller without its certificate is cut off.

    Raises SettingsError.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with loading({f"{PREFIX}TLS_CERT": settings.tls_cert, f"{PREFIX}TLS_KEY": settings.tls_key}):
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        with loading({f"{PREFIX}TLS_CLIENT_CA": settings.tls_client_ca}):
            context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def names_in(certificate: Mapping[str, Any]) -> frozenset[str]:
    """The DNS names of a certificate as `SSLObject.getpeercert()` gives it; its common name where it has none."""
    alternatives = frozenset(
        str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"
    )
    if alternatives:
        return alternatives
    subject = (pair for group in certificate.get("subject", ()) for pair in group)
    return frozenset(str(value) for kind, value in subject if kind == "commonName")


def certificate_names(path: Path) -> frozenset[str]:
    """The names that the agent's certificate, in `path` (PEM), is for. Raises SettingsError."""
    # The standard library decodes a certificate file nowhere else; ssl's own documentation tests use it.
    decode = ssl._ssl._test_decode_cert  # type: ignore[attr-defined] # noqa: SLF001 (see above)
    with loading({f"{PREFIX}TLS_CERT": path}):
        return names_in(decode(str(path)))
