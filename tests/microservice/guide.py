"""The guide's commands, word for word."""

import re
import subprocess
from pathlib import Path

COMMANDS = Path(__file__).with_name("guide.sh").read_text()


def curl(name: str, model_server: str, microservice: str = "") -> str:
    """Run one of them, at these addresses in the place of the guide's, and return what it prints."""
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", COMMANDS, re.M | re.S)
    assert found, name
    line = found[1].replace("http://localhost:8008", model_server)
    line = line.replace("http://localhost:9000", microservice)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=600, check=True)
    return done.stdout
