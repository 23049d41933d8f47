"""The guide's commands, word for word."""

import re
import subprocess
from pathlib import Path

COMMANDS = Path(__file__).with_name("guide.sh").read_text()


def command(name: str, model_server: str, microservice: str = "") -> str:
    """One of them, at these addresses in the place of the guide's."""
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", COMMANDS, re.M | re.S)
    assert found, name
    line = found[1].strip().replace("http://localhost:8008", model_server)
    return line.replace("http://localhost:9000", microservice)


def curl(name: str, model_server: str, microservice: str = "") -> str:
    """Run one of them, at these addresses in the place of the guide's, and return what it prints."""
    words = ["bash", "-c", command(name, model_server, microservice)]
    return subprocess.run(words, capture_output=True, text=True, timeout=600, check=True).stdout
