"""Settings: the guide's variables and ours, and mistakes by the name of the variable."""

import subprocess

import certifi
import pytest

from llm_microservice.settings import InvalidSettingError, Settings
from tests.microservice.program import ROOT, Launch, command, environment
from tests.microservice.standin import StandIn

HERE = {"LLM_MODEL_SERVER_ENDPOINT": "http://chat.models.svc:8008"}


def test_defaults() -> None:
    assert Settings.read(HERE) == Settings(endpoint="http://chat.models.svc:8008")
    # As compose files hand on what nobody has set.
    assert Settings.read({**HERE, "LLM_CONNECTOR": "", "LLM_USVC_PORT": ""}) == Settings.read(HERE)


def test_all_of_them() -> None:
    own = "LLM_MICROSERVICE"
    given = {
        "LLM_MODEL_SERVER_ENDPOINT": "https://[::1]:8443/vllm/",
        "LLM_MODEL_SERVER": "vllm",
        "LLM_MODEL_NAME": "a/b",
        "LLM_CONNECTOR": "generic",
        "LLM_USVC_PORT": "9001",
        "OPEA_LOGGER_LEVEL": "DEBUG",
        "VLLM_API_KEY": "secret",
        "SSL_CERT_FILE": certifi.where(),
        f"{own}_ADDRESS": "::",
        f"{own}_MAX_CONCURRENCY": "5",
        f"{own}_MAX_BODY_BYTES": "2048",
        f"{own}_MAX_BUFFERED_BYTES": "4096",
        f"{own}_CONNECT_TIMEOUT_SECONDS": "1",
        f"{own}_READ_TIMEOUT_SECONDS": "2",
        f"{own}_HEALTH_CACHE_SECONDS": "0",
        f"{own}_GRACE_SECONDS": "3",
    }
    read = Settings.read(given)
    assert read == Settings(
        endpoint="https://[::1]:8443/vllm",
        model="a/b",
        api_key="secret",
        ca_file=certifi.where(),
        address="::",
        port=9001,
        max_concurrency=5,
        max_body_bytes=2048,
        max_buffered_bytes=4096,
        connect_timeout=1,
        read_timeout=2,
        health_cache=0,
        grace=3,
        log_level="DEBUG",
    )
    assert "secret" not in repr(read)


WRONG = [
    ("LLM_MODEL_SERVER_ENDPOINT", ""),
    ("LLM_MODEL_SERVER_ENDPOINT", "chat:8008"),
    ("LLM_MODEL_SERVER_ENDPOINT", "ftp://chat"),
    ("LLM_MODEL_SERVER_ENDPOINT", "http://chat:port"),
    ("LLM_MODEL_SERVER_ENDPOINT", "http://me:secret@chat"),
    ("LLM_MODEL_SERVER_ENDPOINT", "http://chat?x=1"),
    ("LLM_MODEL_SERVER_ENDPOINT", "http://chat:8008/v1"),
    ("LLM_MODEL_SERVER", "tgi"),
    ("LLM_CONNECTOR", "other"),
    ("LLM_USVC_PORT", "65536"),
    ("LLM_USVC_PORT", "tcp://10.0.0.1:9000"),
    ("OPEA_LOGGER_LEVEL", "loud"),
    ("VLLM_API_KEY", "two words"),
    ("VLLM_API_KEY", "line\n"),
    ("LLM_MICROSERVICE_MAX_CONCURRENCY", "0"),
    ("LLM_MICROSERVICE_MAX_BODY_BYTES", "-1"),
    # The largest request would never have room.
    ("LLM_MICROSERVICE_MAX_BUFFERED_BYTES", "4194303"),
    ("LLM_MICROSERVICE_READ_TIMEOUT_SECONDS", "1.5"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_mistake_is_told_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match=f"^{name}: ") as told:
        Settings.read({**HERE, name: value})
    assert "secret" not in str(told.value)
    assert "two words" not in str(told.value)


@pytest.mark.parametrize("file", ["/nowhere/ca.crt", "/dev/null", "/"])
def test_certificates_are_read_where_they_are_of_use(file: str) -> None:
    given = {**HERE, "SSL_CERT_FILE": file}
    assert Settings.read(given).ca_file == ""
    with pytest.raises(InvalidSettingError, match=r"^SSL_CERT_FILE: "):
        Settings.read(given | {"LLM_MODEL_SERVER_ENDPOINT": "https://chat"})


def test_a_mistake_ends_the_program_without_a_traceback() -> None:
    surroundings = environment("http://chat:8008", 9000, LLM_CONNECTOR="other")
    done = subprocess.run(
        command(), env=surroundings, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "LLM_CONNECTOR: 'other' is none of generic, langchain\n"


def test_what_the_guide_knew_and_has_no_effect_is_told(launch: Launch, standin: StandIn) -> None:
    service = launch(standin.url, LLM_CONNECTOR="langchain", LLM_DISABLE_STREAMING="True")
    warned = [line["message"] for line in service.log if line["level"] == "WARNING"]
    assert warned == [
        "LLM_DISABLE_STREAMING has no effect: a request says whether it wants a stream",
        "LLM_CONNECTOR: langchain is another word for generic: there is no LangChain in here",
    ]
    assert service.health().status_code == 200


def test_fewer_open_files_than_needed_make_for_fewer_requests(standin: StandIn) -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 524));"
        "from llm_microservice.__main__ import with_files; from llm_microservice.settings import Settings;"
        "print(with_files(Settings('http://chat')).max_concurrency);"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    words = [command()[0], "-c", script]
    surroundings = environment("http://chat", 9000)
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "34\n(524, 524)\n"
    assert done.stderr.startswith("LLM_MICROSERVICE_MAX_CONCURRENCY: 1024 requests need 6464 open files")
