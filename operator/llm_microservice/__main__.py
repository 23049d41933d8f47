"""`python -m llm_microservice`: the microservice, set up by the environment."""

import asyncio
import dataclasses
import logging
import resource
import sys

from llm_microservice import connections, logs
from llm_microservice.server import serve
from llm_microservice.settings import InvalidSettingError, Settings

log = logging.getLogger("llm_microservice")


def main() -> int:
    """Run until a signal. Return 2 when a variable is wrong."""
    try:
        settings = Settings.read()
    except InvalidSettingError as error:
        print(error, file=sys.stderr)
        return 2
    # To write a long number takes time by the square of its length. Such a request is refused.
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)
    logs.begin(settings.log_level)
    for warning in settings.warnings:
        log.warning(warning)
    asyncio.run(serve(with_files(settings)))
    return 0


def with_files(settings: Settings) -> Settings:
    """Allow this process the open files that it needs, or less concurrency if it may not have them."""
    needed = connections.files(settings.max_concurrency)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return settings
    each = connections.files(1) - connections.files(0)
    fitting = max((allowed - connections.files(0)) // each, 1)
    log.warning(
        "LLM_MICROSERVICE_MAX_CONCURRENCY: %d requests need %d open files and may have %d; taking %d",
        settings.max_concurrency,
        needed,
        hard,
        fitting,
    )
    return dataclasses.replace(settings, max_concurrency=fitting)


if __name__ == "__main__":
    sys.exit(main())
