"""The page at /docs, in one piece: it loads nothing, so that it works without a way to the Internet."""

import json
from html import escape
from typing import Any

HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}pre{{background:#f4f4f4;
padding:1em;overflow:auto}}code{{font-size:90%}}</style><h1>{title}</h1><p>{description}</p>
<p>For programs: <a href="openapi.json">openapi.json</a>.</p>
"""


def page(document: dict[str, Any]) -> str:
    """Write the page of an OpenAPI document."""
    info = document["info"]
    parts = [HEAD.format(title=escape(info["title"]), description=escape(info["description"]))]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation['description'])}</p>")
            for status, response in operation["responses"].items():
                parts.append(f"<p><code>{status}</code> {escape(response['description'])}</p>")
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        parts.append(f"<h3>{escape(name)}</h3><pre>{escape(json.dumps(schema, indent=2))}</pre>")
    return "".join(parts)
