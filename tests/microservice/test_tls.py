"""A vLLM behind TLS, whose certificate an authority of one's own has signed."""

import ssl
from pathlib import Path

import pytest

from tests.harness.certs import Authority
from tests.microservice.program import Launch
from tests.microservice.standin import StandIn
from tests.microservice.test_failures import FORMS


def shown(authority: Authority, address: str) -> ssl.SSLContext:
    """What a server shows that has this address by its certificate."""
    pair = authority.issue("vllm", "vllm", addresses=f"IP:{address}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that nobody knows."""
    return Authority(tmp_path)


def test_an_authority_of_ones_own(launch: Launch, authority: Authority) -> None:
    with StandIn(tls=shown(authority, "127.0.0.1")) as standin:
        service = launch(standin.url, SSL_CERT_FILE=str(authority.own.certificate))
        assert service.health().status_code == 200
        assert service.chat(FORMS["guide"]).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("address", "known", "why"),
    [("127.0.0.1", False, "unable to get local issuer certificate"), ("127.0.0.2", True, "mismatch")],
)
def test_a_certificate_that_is_not_trusted(
    launch: Launch, authority: Authority, address: str, known: bool, why: str
) -> None:
    """It is no server that is starting: that would be waited for."""
    with StandIn(tls=shown(authority, address)) as standin:
        trusted = {"SSL_CERT_FILE": str(authority.own.certificate)} if known else {}
        service = launch(standin.url, **trusted)
        answer = service.chat(FORMS["guide"])
        assert (answer.status_code, service.health().status_code) == (502, 503)
        for message in (answer.json()["detail"], service.health().json()["detail"]):
            assert message.startswith("vLLM's certificate is not trusted: ")
            assert why in message
