"""What docs/microservice.md says is so."""

import json
import re

from tests.microservice.program import ROOT, Microservice, environment

PAGE = (ROOT / "docs" / "microservice.md").read_text()
BLOCKS = re.findall(r"^((?: {4}.*\n)+)", PAGE, re.M)
VARIABLE = r"\b(?:(?:LLM|OPEA|VLLM)_[A-Z_]+[A-Z]|TELEMETRY_ENDPOINT)\b"


def test_all_variables_are_told_and_no_others() -> None:
    source = (ROOT / "operator" / "llm_microservice" / "settings.py").read_text()
    source = re.sub(r"\{own\}(?=_[A-Z])", "LLM_MICROSERVICE", source)
    read = set(re.findall(VARIABLE, source)) - {"LLM_MICROSERVICE"}
    assert len(read) > 15
    assert set(re.findall(VARIABLE, PAGE)) == read
    assert {name for name in environment("", 0) if name.startswith("LLM")} <= read


def test_all_metrics_are_told_and_no_others(service: Microservice) -> None:
    service.chat({"messages": {"user": "Who?"}})
    with service.client() as client:
        kinds = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", client.get("/metrics").text, re.M)
    names = {name for name, _ in kinds if not name.endswith("_created")}
    assert set(re.findall(r"\bllm_microservice_[a-z_]+", PAGE)) == names


def test_examples_of_requests_are_answered(service: Microservice) -> None:
    bodies = [found for block in BLOCKS for found in re.findall(r"-d '(\{.*?\})'", block, re.S)]
    assert len(bodies) == 2
    for body in bodies:
        assert service.chat(json.loads(body)).status_code == 200


def test_every_path_is_told(service: Microservice) -> None:
    with service.client() as client:
        paths = set(client.get("/openapi.json").json()["paths"])
    assert {"/v1/chat/completions", "/v1/health_check"} == paths
    assert all(f" {path}`" in PAGE for path in (*paths, "/metrics", "/docs", "/openapi.json"))
