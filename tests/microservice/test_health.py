"""Health is what vLLM says of itself now; only good news is kept, and for some seconds."""

import threading

from tests.microservice.program import Launch, Microservice
from tests.microservice.standin import StandIn
from tests.microservice.test_failures import FORMS


def test_never_healthy_after_a_failed_check(launch: Launch) -> None:
    """The guide's microservice says for ten minutes that it is well, once a check has failed."""
    with StandIn() as standin:
        standin.health = 503
        service = launch(standin.url, LLM_MICROSERVICE_HEALTH_CACHE_SECONDS="600")
        for _ in range(3):
            answer = service.health()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["detail"] == "vLLM is not healthy: /health answers 503"
        standin.health = 200
        assert service.health().status_code == 200


def test_good_news_are_kept_until_a_request_fails(launch: Launch) -> None:
    with StandIn() as standin:
        service = launch(standin.url, LLM_MICROSERVICE_HEALTH_CACHE_SECONDS="600")
        assert service.health().status_code == 200
        looks = standin.looks
        assert service.health().status_code == 200
        assert standin.looks == looks
    assert service.chat(FORMS["guide"]).status_code == 503
    assert service.health().status_code == 503


def test_nothing_is_kept_if_so_set(launch: Launch) -> None:
    with StandIn() as standin:
        service = launch(standin.url, LLM_MICROSERVICE_HEALTH_CACHE_SECONDS="0")
        before = standin.looks
        assert [service.health().status_code for _ in range(3)] == [200] * 3
        assert standin.looks == before + 3
    assert service.health().status_code == 503


def test_a_server_that_is_no_vllm(launch: Launch) -> None:
    """It has /v1/models and no /health."""
    with StandIn(health=404) as standin:
        service = launch(standin.url)
        assert service.health().status_code == 200


def test_those_who_ask_together_share_an_answer(launch: Launch) -> None:
    """A vLLM that hangs is asked once at a time, and not by every probe."""
    with StandIn() as standin:
        service = launch(standin.url, LLM_MICROSERVICE_HEALTH_CACHE_SECONDS="0")
        standin.slow = 1.0
        before = standin.looks
        threads = [threading.Thread(target=service.health) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert standin.looks - before < 10


def test_a_page_that_cannot_be_read(launch: Launch) -> None:
    with StandIn(models_page="[" * 200_000) as standin:
        service = launch(standin.url)
        assert service.health().json()["detail"] == "vLLM is not ready: /v1/models answers 200"


def test_a_vllm_that_hangs_is_not_healthy(launch: Launch) -> None:
    with StandIn(slow=60) as standin:
        service: Microservice = launch(standin.url)
        assert service.health().json()["detail"] == "vLLM has not answered within 4 s"
